#include "coordinator/tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <utility>

#include "base/check.h"
#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {
namespace {

// Up to here looking at every pair after each merge beats a heap.
constexpr size_t kShortWordSymbolsMax = 48;

uint64_t HeapEntry(int32_t rank, int32_t symbol) {
  return (static_cast<uint64_t>(rank) << 32) | static_cast<uint32_t>(symbol);
}

int64_t CharactersAmong(const BpeModel& model, const std::vector<std::string_view>& word_forms) {
  return model.byte_level ? 0 : static_cast<int64_t>(word_forms.size());
}

}  // namespace

Bpe::Bpe(const BpeModel& model, const std::vector<std::string_view>& word_forms)
    : model_(model),
      word_forms_(word_forms),
      by_span_(model.by_span()),
      merges_(static_cast<int64_t>(model.merges.size())),
      characters_(CharactersAmong(model, word_forms)),
      words_(std::bit_ceil(2 * std::max<size_t>(word_forms.size(), 2)), -1) {
  for (size_t rank = 0; rank < model.merges.size(); ++rank) {
    const auto& merge = model.merges[rank];
    const uint64_t value =
        (static_cast<uint64_t>(rank) << 32) | static_cast<uint32_t>(merge.result);
    OCTET_CHECK(merges_.Insert(merge.left, merge.right, value));
  }
  if (!model.byte_level) {
    for (const int32_t id : model.word_ids) {
      const std::string_view text = word_forms[static_cast<size_t>(id)];
      const CodePoint c = FirstCodePoint(text);
      if (static_cast<size_t>(c.length_bytes) != text.size()) continue;
      OCTET_CHECK(characters_.Insert(0, c.value, static_cast<uint64_t>(id)));
    }
  }
  if (by_span_) {
    for (size_t id = 0; id < word_forms.size(); ++id) {
      if (model.span_ranks[id] == kNoRank) continue;
      span_bytes_max_ = std::max(span_bytes_max_, word_forms[id].size());
      InsertWord(static_cast<int32_t>(id));
    }
  } else if (model.ignore_merges) {
    for (const int32_t id : model.word_ids) InsertWord(id);
  } else if (model.byte_level) {
    InsertSelfMadeWords(model.word_ids);
  }
}

// Words that are tokens by their own merges are looked up whole too. Which these are is decided
// once here, and stands in for a cache of words. Not for words of characters: they are often a
// whole text.
void Bpe::InsertSelfMadeWords(const std::vector<int32_t>& ids) {
  BpeScratch scratch;
  std::vector<int32_t> made;
  for (const int32_t id : ids) {
    made.clear();
    Begin(word_forms_[static_cast<size_t>(id)], &scratch);
    MergeLong(word_forms_[static_cast<size_t>(id)], &scratch, &made);
    if (made.size() == 1 && made[0] == id) InsertWord(id);
  }
}

Bpe::Merge Bpe::FindMerge(std::string_view word, const BpeScratch& s, int32_t left, int32_t right,
                          int32_t after) const {
  if (by_span_) {
    const auto begin = static_cast<size_t>(s.begins[left]);
    const size_t bytes = static_cast<size_t>(s.begins[after]) - begin;
    const int32_t id = bytes > span_bytes_max_ ? -1 : FindWord(word.substr(begin, bytes));
    if (id < 0) return {kNoRank, -1};
    return {model_.span_ranks[static_cast<size_t>(id)], id};
  }
  const uint64_t* value = merges_.Get(s.ids[left], s.ids[right]);
  if (value == nullptr) return {kNoRank, -1};
  return {static_cast<int32_t>(*value >> 32), static_cast<int32_t>(*value & 0xFFFFFFFFu)};
}

int32_t Bpe::FindWord(std::string_view word) const {
  const size_t mask = words_.size() - 1;
  for (size_t at = std::hash<std::string_view>()(word) & mask; words_[at] >= 0;
       at = (at + 1) & mask) {
    if (word_forms_[static_cast<size_t>(words_[at])] == word) return words_[at];
  }
  return -1;
}

void Bpe::InsertWord(int32_t id) {
  const size_t mask = words_.size() - 1;
  size_t at = std::hash<std::string_view>()(word_forms_[static_cast<size_t>(id)]) & mask;
  while (words_[at] >= 0) at = (at + 1) & mask;
  words_[at] = id;
}

void Bpe::Begin(std::string_view word, BpeScratch* s) const {
  s->ids.clear();
  s->begins.clear();
  if (model_.byte_level) {
    for (size_t at = 0; at < word.size(); ++at) {
      s->ids.push_back(model_.byte_ids[static_cast<uint8_t>(word[at])]);
      s->begins.push_back(static_cast<int32_t>(at));
    }
  } else {
    BeginCharacters(word, s);
  }
  s->begins.push_back(static_cast<int32_t>(word.size()));
}

// Merging by span leaves a character without a token as it is, for it may be part of one. Merging
// by pairs decides at once, as Hugging Face's library does: an unk is held back until a character
// with a token comes, so that bytes go before the unk to their left.
void Bpe::BeginCharacters(std::string_view word, BpeScratch* s) const {
  const auto add = [&](int32_t id, size_t at) {
    s->ids.push_back(id);
    s->begins.push_back(static_cast<int32_t>(at));
  };
  bool unk_held = false;
  for (size_t at = 0; at < word.size();) {
    const CodePoint c = FirstCodePoint(word.substr(at));
    const std::string_view bytes = word.substr(at, static_cast<size_t>(c.length_bytes));
    const uint64_t* id = characters_.Get(0, c.value);
    if (id != nullptr || by_span_) {
      if (std::exchange(unk_held, false)) add(*model_.unk_id, at);
      add(id == nullptr ? -1 : static_cast<int32_t>(*id), at);
    } else if (model_.byte_fallback && std::all_of(bytes.begin(), bytes.end(), [&](char byte) {
                 return model_.byte_ids[static_cast<uint8_t>(byte)] >= 0;
               })) {
      for (const char byte : bytes) add(model_.byte_ids[static_cast<uint8_t>(byte)], at);
    } else if (model_.unk_id.has_value()) {
      if (unk_held && !model_.fuse_unk) add(*model_.unk_id, at);
      unk_held = true;
    }
    at += bytes.size();
  }
  if (unk_held) add(*model_.unk_id, word.size());
}

void Bpe::EncodeWord(std::string_view word, BpeScratch* scratch, std::vector<int32_t>* ids) const {
  if (word.empty()) return;
  if (model_.byte_level || model_.ignore_merges) {
    if (const int32_t id = FindWord(word); id >= 0) {
      ids->push_back(id);
      return;
    }
  }
  Begin(word, scratch);
  if (scratch->ids.size() <= kShortWordSymbolsMax) {
    MergeShort(word, scratch, ids);
  } else {
    MergeLong(word, scratch, ids);
  }
}

void Bpe::MergeShort(std::string_view word, BpeScratch* s, std::vector<int32_t>* out) const {
  const auto rank_at = [&](int32_t i) { return FindMerge(word, *s, i, i + 1, i + 2).rank; };
  const auto count = [&] { return static_cast<int32_t>(s->ids.size()); };
  s->ranks.clear();
  for (int32_t i = 0; i + 1 < count(); ++i) s->ranks.push_back(rank_at(i));
  while (!s->ranks.empty()) {
    const auto lowest = std::min_element(s->ranks.begin(), s->ranks.end());
    if (*lowest == kNoRank) break;
    const auto i = static_cast<int32_t>(lowest - s->ranks.begin());
    s->ids[i] = FindMerge(word, *s, i, i + 1, i + 2).result;
    s->ids.erase(s->ids.begin() + i + 1);
    s->begins.erase(s->begins.begin() + i + 1);
    s->ranks.erase(lowest);
    if (i + 1 < count()) s->ranks[i] = rank_at(i);
    if (i > 0) s->ranks[i - 1] = rank_at(i - 1);
  }
  bool unk_before = false;
  for (int32_t i = 0; i < count(); ++i) {
    const auto begin = static_cast<size_t>(s->begins[i]);
    Emit(word.substr(begin, static_cast<size_t>(s->begins[i + 1]) - begin), s->ids[i], &unk_before,
         out);
  }
}

// Offers the pair that begins at `symbol` to the heap, or notes that there is none.
void Bpe::OfferPair(std::string_view word, int32_t symbol, BpeScratch* s) const {
  ++s->steps;
  const int32_t right = s->next[symbol];
  const auto end = static_cast<int32_t>(s->ids.size());
  const int32_t rank =
      right == end ? kNoRank : FindMerge(word, *s, symbol, right, s->next[right]).rank;
  s->ranks[symbol] = rank;
  if (rank == kNoRank) return;
  s->heap.push_back(HeapEntry(rank, symbol));
  std::push_heap(s->heap.begin(), s->heap.end(), std::greater<>());
}

void Bpe::MergeLong(std::string_view word, BpeScratch* s, std::vector<int32_t>* out) const {
  const auto end = static_cast<int32_t>(s->ids.size());
  s->ranks.resize(s->ids.size());
  s->next.resize(s->ids.size());
  s->previous.resize(s->ids.size());
  s->heap.clear();
  for (int32_t i = 0; i < end; ++i) {
    s->next[i] = i + 1;
    s->previous[i] = i - 1;
  }
  for (int32_t i = 0; i < end; ++i) OfferPair(word, i, s);
  while (!s->heap.empty()) {
    ++s->steps;
    std::pop_heap(s->heap.begin(), s->heap.end(), std::greater<>());
    const uint64_t entry = s->heap.back();
    s->heap.pop_back();
    const auto rank = static_cast<int32_t>(entry >> 32);
    const auto left = static_cast<int32_t>(entry & 0xFFFFFFFFu);
    // An entry whose pair has changed since is stale. The rank tells, and if the new pair has the
    // same rank, then its own entry stands at the same place of the order.
    if (s->ranks[left] != rank) continue;
    const int32_t right = s->next[left];
    s->ids[left] = FindMerge(word, *s, left, right, s->next[right]).result;
    s->ranks[right] = kNoRank;
    s->next[left] = s->next[right];
    if (s->next[left] < end) s->previous[s->next[left]] = left;
    OfferPair(word, left, s);
    if (s->previous[left] >= 0) OfferPair(word, s->previous[left], s);
  }
  bool unk_before = false;
  for (int32_t i = 0; i < end; i = s->next[i]) {
    const auto begin = static_cast<size_t>(s->begins[i]);
    Emit(word.substr(begin, static_cast<size_t>(s->begins[s->next[i]]) - begin), s->ids[i],
         &unk_before, out);
  }
}

void Bpe::Emit(std::string_view symbol, int32_t id, bool* unk_before,
               std::vector<int32_t>* ids) const {
  const bool was_unk = std::exchange(*unk_before, false);
  if (id >= 0) {
    ids->push_back(id);
  } else if (model_.byte_fallback) {
    for (const char byte : symbol) ids->push_back(model_.byte_ids[static_cast<uint8_t>(byte)]);
  } else if (model_.unk_id.has_value()) {
    if (!was_unk || !model_.fuse_unk) ids->push_back(*model_.unk_id);
    *unk_before = true;
  }
}

}  // namespace octet::tokenizer
