// Byte-pair encoding of one word. The word starts as its bytes or its characters; the adjacent pair
// whose merge has the lowest rank, the leftmost of equals, becomes one token, until no pair has a
// merge. Immutable after construction; each caller brings its own scratch.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "coordinator/tokenizer/definition.h"
#include "coordinator/tokenizer/pair_table.h"

namespace octet::tokenizer {

// Working memory of EncodeWord, kept between words so that a text costs few allocations.
struct BpeScratch {
  std::vector<int32_t> ids;     // token of each symbol, or -1: a character without one
  std::vector<int32_t> begins;  // [symbols + 1] first byte of each symbol; the last: the word's end
  std::vector<int32_t> ranks;   // rank of the pair that begins at this symbol, or kNoRank
  std::vector<int32_t> next;    // the symbol to the right
  std::vector<int32_t> previous;
  std::vector<uint64_t> heap;  // rank << 32 | symbol
  int64_t steps = 0;           // pairs looked at and entries of the heap taken, for tests
};

class Bpe {
 public:
  // `word_forms[id]`, the text of the token as it stands in a word, must outlive this object.
  // REQUIRES: ids of the model are below word_forms.size().
  Bpe(const BpeModel& model, const std::vector<std::string_view>& word_forms);

  // Appends the tokens of `word`. Time O(n log n) in the bytes of the word.
  void EncodeWord(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids) const;

 private:
  struct Merge {
    int32_t rank;
    int32_t result;
  };
  static constexpr int32_t kNoRank = BpeModel::kNoRank;

  // The merge of two neighbours; `after` is the symbol to the right of both.
  Merge FindMerge(std::string_view word, const BpeScratch& s, int32_t left, int32_t right,
                  int32_t after) const;
  // The token in words_ with this text, or -1.
  int32_t FindWord(std::string_view word) const;
  void InsertWord(int32_t id);
  void InsertSelfMadeWords(const std::vector<int32_t>& ids);
  void Begin(std::string_view word, BpeScratch* scratch) const;
  void BeginCharacters(std::string_view word, BpeScratch* scratch) const;
  void MergeShort(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids) const;
  void MergeLong(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids) const;
  void OfferPair(std::string_view word, int32_t symbol, BpeScratch* scratch) const;
  // Appends the tokens of one symbol; `unk_before`: the one before ended in an unk of a run.
  void Emit(std::string_view symbol, int32_t id, bool* unk_before, std::vector<int32_t>* ids) const;

  const BpeModel& model_;
  const std::vector<std::string_view>& word_forms_;
  const bool by_span_;
  size_t span_bytes_max_ = 0;
  PairTable merges_;
  PairTable characters_;        // (0, code point) -> token
  std::vector<int32_t> words_;  // open addressing by the hash of the bytes; -1 is empty
};

}  // namespace octet::tokenizer
