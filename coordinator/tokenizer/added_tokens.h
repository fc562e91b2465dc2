// Finds the added tokens of a tokenizer in a text: leftmost first, longest of those that begin at
// one place. One instance searches the raw text (normalized = false), another the normalized text.
// Immutable after construction.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/byte_spans.h"
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

  // Appends the segments of `text` in order. Special tokens that have a byte in `plain` stay text.
  // Time O(n * longest token); the white space that lstrip takes is looked at once.
  void Split(std::string_view text, const ByteSpans& plain, const MatchScratch& scratch,
             std::vector<Segment>* segments) const;

  bool any_special() const { return any_special_; }

  // Bytes of the longest token that `text` begins with, whatever its flags; 0: none.
  size_t LongestBytesAt(std::string_view text) const;

 private:
  // Index into tokens_ of the longest token that `text` begins with, or -1.
  int32_t LongestAt(std::string_view text) const;
  // What begins at `at`: a token to take, or how far to go on.
  struct Match {
    int32_t index = -1;
    size_t bytes = 1;
  };
  Match MatchAt(std::string_view text, size_t at, const ByteSpans& plain) const;
  bool IsWholeWord(std::string_view text, size_t begin, size_t end,
                   const MatchScratch& scratch) const;

  std::vector<AddedToken> tokens_;
  PairTable edges_;                     // (node, byte) -> node; the root is node 0
  std::vector<int32_t> token_of_node_;  // index into tokens_, or -1
  bool begins_token_[256] = {};
  bool any_special_ = false;
  std::unique_ptr<const SplitPattern> word_character_;  // null when no token is single_word
};

}  // namespace octet::tokenizer
