// Byte-pair encoding of one word. The word starts as its bytes; the adjacent pair whose merge has
// the lowest rank, the leftmost of equals, becomes one token, until no pair has a merge. Immutable
// after construction; each caller brings its own scratch.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "coordinator/tokenizer/definition.h"
#include "coordinator/tokenizer/pair_table.h"

namespace octet::tokenizer {

// Working memory of EncodeWord, kept between words so that a text costs few allocations.
struct BpeScratch {
  std::vector<int32_t> ids;    // token that begins at this byte
  std::vector<int32_t> ranks;  // rank of the pair that begins at this byte, or kNoRank
  std::vector<int32_t> next;   // first byte of the token to the right
  std::vector<int32_t> previous;
  std::vector<uint64_t> heap;  // rank << 32 | position
};

class Bpe {
 public:
  // `token_bytes[id]` must outlive this object.
  // REQUIRES: ids of the merges and of the bytes are below token_bytes.size().
  Bpe(const Definition& definition, const std::vector<std::string_view>& token_bytes);

  // Appends the tokens of `word`. Time O(n log n) in the bytes of the word.
  void EncodeWord(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids) const;

 private:
  struct Merge {
    int32_t rank;
    int32_t result;
  };
  static constexpr int32_t kNoRank = INT32_MAX;

  Merge FindMerge(int32_t left, int32_t right) const;
  // The token that is the whole word, when encoding the word is known to give just it; else -1.
  int32_t FindWord(std::string_view word) const;
  void InsertWord(int32_t id);
  void MergeShort(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids) const;
  void MergeLong(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids) const;
  void MergeFrom(int32_t position, BpeScratch* scratch) const;

  const std::vector<std::string_view>& token_bytes_;
  std::vector<int32_t> byte_ids_;  // [256]
  PairTable merges_;
  std::vector<int32_t> words_;  // open addressing by the hash of the bytes; -1 is empty
};

}  // namespace octet::tokenizer
