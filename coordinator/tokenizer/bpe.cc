#include "coordinator/tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/check.h"

namespace octet::tokenizer {
namespace {

// Up to here looking at every pair after each merge beats a heap.
constexpr size_t kShortWordBytesMax = 48;

uint64_t HeapEntry(int32_t rank, int32_t position) {
  return (static_cast<uint64_t>(rank) << 32) | static_cast<uint32_t>(position);
}

}  // namespace

Bpe::Bpe(const Definition& definition, const std::vector<std::string_view>& token_bytes)
    : token_bytes_(token_bytes),
      byte_ids_(definition.byte_ids.begin(), definition.byte_ids.end()),
      merges_(static_cast<int64_t>(definition.merges.size())),
      words_(std::bit_ceil(2 * std::max<size_t>(token_bytes.size(), 2)), -1) {
  for (size_t rank = 0; rank < definition.merges.size(); ++rank) {
    const auto& merge = definition.merges[rank];
    const uint64_t value =
        (static_cast<uint64_t>(rank) << 32) | static_cast<uint32_t>(merge.result);
    OCTET_CHECK(merges_.Insert(merge.left, merge.right, value));
  }
  // A word that is a token is looked up whole: with ignore_merges by definition, otherwise when its
  // own merges arrive at it. This is decided once here, and stands in for a cache of words.
  BpeScratch scratch;
  std::vector<int32_t> ids;
  for (const int32_t id : definition.word_ids) {
    ids.clear();
    if (!definition.ignore_merges) MergeLong(token_bytes_[id], &scratch, &ids);
    if (definition.ignore_merges || (ids.size() == 1 && ids[0] == id)) InsertWord(id);
  }
}

Bpe::Merge Bpe::FindMerge(int32_t left, int32_t right) const {
  const uint64_t* value = merges_.Get(left, right);
  if (value == nullptr) return {kNoRank, -1};
  return {static_cast<int32_t>(*value >> 32), static_cast<int32_t>(*value & 0xFFFFFFFFu)};
}

int32_t Bpe::FindWord(std::string_view word) const {
  const size_t mask = words_.size() - 1;
  for (size_t at = std::hash<std::string_view>()(word) & mask; words_[at] >= 0;
       at = (at + 1) & mask) {
    if (token_bytes_[words_[at]] == word) return words_[at];
  }
  return -1;
}

void Bpe::InsertWord(int32_t id) {
  const size_t mask = words_.size() - 1;
  size_t at = std::hash<std::string_view>()(token_bytes_[id]) & mask;
  while (words_[at] >= 0) at = (at + 1) & mask;
  words_[at] = id;
}

void Bpe::EncodeWord(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids) const {
  if (word.empty()) return;
  if (const int32_t id = FindWord(word); id >= 0) {
    ids->push_back(id);
  } else if (word.size() <= kShortWordBytesMax) {
    MergeShort(word, scratch, ids);
  } else {
    MergeLong(word, scratch, ids);
  }
}

void Bpe::MergeShort(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* out) const {
  std::vector<int32_t>& ids = scratch->ids;
  std::vector<int32_t>& ranks = scratch->ranks;
  ids.clear();
  ranks.clear();
  for (const char byte : word) ids.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
  for (size_t i = 0; i + 1 < ids.size(); ++i) ranks.push_back(FindMerge(ids[i], ids[i + 1]).rank);
  while (!ranks.empty()) {
    const auto lowest = std::min_element(ranks.begin(), ranks.end());
    if (*lowest == kNoRank) break;
    const auto i = lowest - ranks.begin();
    ids[i] = FindMerge(ids[i], ids[i + 1]).result;
    ids.erase(ids.begin() + i + 1);
    ranks.erase(lowest);
    const auto last = static_cast<std::ptrdiff_t>(ids.size()) - 1;
    if (i < last) ranks[i] = FindMerge(ids[i], ids[i + 1]).rank;
    if (i > 0) ranks[i - 1] = FindMerge(ids[i - 1], ids[i]).rank;
  }
  out->insert(out->end(), ids.begin(), ids.end());
}

// Offers the pair that begins at `position` to the heap, or notes that there is none.
void Bpe::MergeFrom(int32_t position, BpeScratch* s) const {
  const int32_t right = s->next[position];
  const auto end = static_cast<int32_t>(s->ids.size());
  const int32_t rank = right == end ? kNoRank : FindMerge(s->ids[position], s->ids[right]).rank;
  s->ranks[position] = rank;
  if (rank == kNoRank) return;
  s->heap.push_back(HeapEntry(rank, position));
  std::push_heap(s->heap.begin(), s->heap.end(), std::greater<>());
}

void Bpe::MergeLong(std::string_view word, BpeScratch* s, std::vector<int32_t>* out) const {
  const auto end = static_cast<int32_t>(word.size());
  s->ids.resize(word.size());
  s->ranks.resize(word.size());
  s->next.resize(word.size());
  s->previous.resize(word.size());
  s->heap.clear();
  for (int32_t i = 0; i < end; ++i) {
    s->ids[i] = byte_ids_[static_cast<uint8_t>(word[static_cast<size_t>(i)])];
    s->next[i] = i + 1;
    s->previous[i] = i - 1;
  }
  for (int32_t i = 0; i < end; ++i) MergeFrom(i, s);
  while (!s->heap.empty()) {
    std::pop_heap(s->heap.begin(), s->heap.end(), std::greater<>());
    const uint64_t entry = s->heap.back();
    s->heap.pop_back();
    const auto rank = static_cast<int32_t>(entry >> 32);
    const auto left = static_cast<int32_t>(entry & 0xFFFFFFFFu);
    // An entry whose pair has changed since is stale. Ranks are unique to pairs, so the rank tells.
    if (s->ranks[left] != rank) continue;
    const int32_t right = s->next[left];
    s->ids[left] = FindMerge(s->ids[left], s->ids[right]).result;
    s->ranks[right] = kNoRank;
    s->next[left] = s->next[right];
    if (s->next[left] < end) s->previous[s->next[left]] = left;
    MergeFrom(left, s);
    if (s->previous[left] >= 0) MergeFrom(s->previous[left], s);
  }
  for (int32_t i = 0; i < end; i = s->next[i]) out->push_back(s->ids[i]);
}

}  // namespace octet::tokenizer
