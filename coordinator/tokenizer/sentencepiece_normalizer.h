// sentencepiece's normalizer: spaces become U+2581 in front of words, the charsmap of the model
// rewrites the rest (nmt_nfkc and the like), pieces that users defined stay as they are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "coordinator/tokenizer/added_tokens.h"
#include "coordinator/tokenizer/definition.h"

namespace octet::tokenizer {

inline constexpr std::string_view kPieceSpace = "\xE2\x96\x81";

// A precompiled charsmap: a double array over the texts that are rewritten (darts-clone's units),
// and the texts they become, each ended by a zero byte. Every look-up is within bounds, whatever
// the units say.
class Charsmap {
 public:
  Charsmap() = default;  // rewrites nothing
  // `blob` is the model's precompiled_charsmap and outlives this. REQUIRES: Check(blob).
  explicit Charsmap(std::string_view blob);
  static Status Check(std::string_view blob);

  struct Rule {
    size_t bytes = 0;         // of the longest text at the beginning that is rewritten; 0: none
    std::string_view result;  // what it becomes
  };
  Rule Find(std::string_view text) const;

 private:
  uint32_t Unit(size_t index) const;

  std::string_view units_;  // little-endian 32 bit words
  std::string_view results_;
};

class SentencePieceNormalizer {
 public:
  // `rules` outlives this. REQUIRES: Charsmap::Check(rules.charsmap).
  explicit SentencePieceNormalizer(const SentencePieceRules& rules);

  // `at_start`: the whole text begins here. REQUIRES: valid UTF-8. Time O(n * longest
  // rule). ResourceExhausted beyond kNormalizedBytesMax.
  Result<std::string> Apply(std::string_view text, bool at_start) const;

 private:
  // What the beginning of `text` becomes, and how much of it that is.
  struct Prefix {
    std::string_view result;
    size_t bytes = 0;
  };
  Prefix Next(std::string_view text) const;

  const SentencePieceRules& rules_;
  Charsmap charsmap_;
  AddedTokens user_defined_;
};

}  // namespace octet::tokenizer
