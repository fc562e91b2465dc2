// Finds the added tokens of a tokenizer in a text: leftmost first, longest of those that begin at
// one place. One instance searches the raw text (normalized = false), another the normalized text.
// Immutable after construction.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "coordinator/tokenizer/definition.h"
#include "coordinator/tokenizer/pair_table.h"
#include "coordinator/tokenizer/split_pattern.h"

namespace octet::tokenizer {

struct Segment {
  std::string_view text;
  int32_t id = -1;  // of an added token, or -1 for text that is still to be encoded
};

class AddedTokens {
 public:
  // REQUIRES: contents are not empty and differ from one another.
  explicit AddedTokens(std::vector<AddedToken> tokens);

  // Appends the segments of `text` in order. With `parse_special_tokens` false the special ones
  // stay text. Time O(n * longest token); the white space that lstrip takes is looked at once.
  void Split(std::string_view text, bool parse_special_tokens, const MatchScratch& scratch,
             std::vector<Segment>* segments) const;

  // Bytes of the longest token that `text` begins with, whatever its flags; 0: none.
  size_t LongestBytesAt(std::string_view text) const;

 private:
  // Index into tokens_ of the longest token that `text` begins with, or -1.
  int32_t LongestAt(std::string_view text) const;
  bool IsWholeWord(std::string_view text, size_t begin, size_t end,
                   const MatchScratch& scratch) const;

  std::vector<AddedToken> tokens_;
  PairTable edges_;                     // (node, byte) -> node; the root is node 0
  std::vector<int32_t> token_of_node_;  // index into tokens_, or -1
  bool begins_token_[256] = {};
  std::unique_ptr<const SplitPattern> word_character_;  // null when no token is single_word
};

}  // namespace octet::tokenizer
