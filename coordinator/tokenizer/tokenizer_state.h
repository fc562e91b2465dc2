// What a loaded Tokenizer holds. Built by tokenizer_load.cc, read by tokenizer.cc, never changed in
// between; views inside point into the same object, which therefore does not move.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "coordinator/tokenizer/added_tokens.h"
#include "coordinator/tokenizer/bpe.h"
#include "coordinator/tokenizer/definition.h"
#include "coordinator/tokenizer/split_pattern.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace octet::tokenizer {

struct EncodeScratch;  // what one call of Encode works with

struct Tokenizer::State {
  struct Step {
    std::optional<SplitPattern> split;  // nothing: put a space before a piece that has none
  };

  explicit State(Definition checked);
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Encodes text that holds no added token: pre-tokenize, then BPE word by word.
  Status EncodeText(std::string_view text, EncodeScratch* scratch, std::vector<int32_t>* ids) const;

  Definition definition;
  std::vector<std::string_view> token_bytes;  // [vocab], into byte_arena
  std::string byte_arena;                     // the bytes of all tokens; filled with token_bytes
  std::vector<bool> is_special;               // [vocab]
  std::unordered_map<std::string_view, int32_t> id_of_token;  // into definition.tokens
  AddedTokens raw_tokens;
  AddedTokens normalized_tokens;
  Bpe bpe;
  std::vector<Step> steps;
};

}  // namespace octet::tokenizer
