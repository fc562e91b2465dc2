// A hash table from a pair of numbers to a number, filled once at load and only read afterwards:
// open addressing with linear probing at a load of at most one half, so that a look-up is one cache
// line in most cases. It holds the merges (left id, right id) and the edges of the added-token trie
// (node, byte). Keys come from the model's files, never from a request.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace octet::tokenizer {

class PairTable {
 public:
  explicit PairTable(int64_t entries_max = 0)
      : slots_(std::bit_ceil(static_cast<uint64_t>(entries_max < 4 ? 4 : entries_max) * 2)),
        shift_(64 - std::countr_zero(slots_.size())) {}

  // False, and nothing changes, when the pair is there already.
  // REQUIRES: first >= 0; fewer than entries_max pairs so far.
  bool Insert(int32_t first, int32_t second, uint64_t value) {
    Slot& slot = slots_[Find(Key(first, second))];
    if (slot.key != kEmpty) return false;
    slot = {Key(first, second), value};
    return true;
  }

  // The value of the pair, or null. Valid as long as nothing is inserted.
  const uint64_t* Get(int32_t first, int32_t second) const {
    const Slot& slot = slots_[Find(Key(first, second))];
    return slot.key == kEmpty ? nullptr : &slot.value;
  }

 private:
  struct Slot {
    uint64_t key = kEmpty;
    uint64_t value = 0;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};

  static uint64_t Key(int32_t first, int32_t second) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(first)) << 32) |
           static_cast<uint32_t>(second);
  }

  uint64_t Find(uint64_t key) const {
    uint64_t at = (key * 0x9E3779B97F4A7C15u) >> shift_;
    while (slots_[at].key != key && slots_[at].key != kEmpty) at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  std::vector<Slot> slots_;
  int shift_;
};

}  // namespace octet::tokenizer
