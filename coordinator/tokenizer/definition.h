// What a tokenizer.json says, after checking and before anything is built from it. Every id in here
// is in [0, tokens.size()), every text is valid UTF-8, every limit of limits.h holds.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace octet::tokenizer {

struct Merge {  // its rank is its index
  int32_t left = 0;
  int32_t right = 0;
  int32_t result = 0;
};

// Text that is cut out of the input before anything else looks at it.
struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;      // hidden by skip_special_tokens, plain text unless specials are parsed
  bool lstrip = false;       // takes the white space to its left along
  bool rstrip = false;       // takes the white space to its right along
  bool single_word = false;  // only where no word character touches it
  bool normalized = false;   // searched for after normalization, in its normalized form
};

struct PreTokenizerStep {
  enum class Kind { kPrefixSpace, kSplit };
  Kind kind = Kind::kSplit;
  std::string pattern;  // of kSplit
};

struct Definition {
  std::vector<std::string> tokens;      // by id, as tokenizer.json spells them
  std::array<int32_t, 256> byte_ids{};  // the token of each single byte
  std::vector<int32_t> word_ids;        // tokens of the model that spell bytes
  std::vector<Merge> merges;
  bool ignore_merges = false;
  bool nfc = false;
  std::vector<PreTokenizerStep> steps;
  std::vector<AddedToken> added_tokens;
  std::vector<int32_t> prefix_ids;  // what the post-processor puts before a text
  std::vector<int32_t> suffix_ids;
  std::optional<int32_t> bos_id;
  std::optional<int32_t> eos_id;
};

}  // namespace octet::tokenizer
