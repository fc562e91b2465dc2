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
#include "coordinator/tokenizer/normalizer.h"
#include "coordinator/tokenizer/split_pattern.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace octet::tokenizer {

struct EncodeScratch;  // what one call of Encode works with

struct Tokenizer::State {
  // `searched_forms`: of definition.added_tokens, one by one.
  State(Definition checked, std::vector<SplitPattern> patterns,
        const std::vector<std::string>& searched_forms);
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Encodes text that holds no added token: pre-tokenize, then BPE word by word. `at_start`: it is
  // the beginning of the whole text.
  Status EncodeText(std::string_view text, bool at_start, EncodeScratch* scratch,
                    std::vector<int32_t>* ids) const;
  Status PreTokenize(std::string_view text, bool at_start, EncodeScratch* scratch) const;
  // The spelling from which a token is decoded.
  const std::string& SpellingOf(int32_t id) const;

  Definition definition;
  std::unordered_map<int32_t, std::string> searched_forms;  // of added tokens that differ from it
  std::vector<std::string_view> token_bytes;                // [vocab], into byte_arena
  std::vector<bool> is_byte;                                // [vocab] of byte fallback
  std::string byte_arena;  // the bytes of all tokens; filled with token_bytes and is_byte
  std::vector<std::string_view> word_forms;  // [vocab] tokens as they stand in words
  std::vector<bool> is_special;              // [vocab]
  std::unordered_map<std::string_view, int32_t> id_of_token;  // into definition.tokens
  AddedTokens raw_tokens;
  AddedTokens normalized_tokens;
  Normalizer normalizer;
  std::optional<Bpe> bpe;              // always there once built
  std::vector<SplitPattern> patterns;  // of the steps of kind kSplit, in order
};

}  // namespace octet::tokenizer
