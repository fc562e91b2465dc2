// How the halves of a narrow tile's blocks come to the teams of a worker: each team has a ring of
// them in shared memory, which it fills itself (cp.async), ahead of their use.
#pragma once

#include "kernels/attention/attention_copy.cuh"
#include "kernels/attention/attention_narrow_queries.cuh"

namespace octet::kernels {

// The shared memory of narrow tiles.
template <class Shape>
struct NarrowShared {
  unsigned char* halves = nullptr;  // [teams, stages], half_bytes apart: keys or values
  unsigned char* scales = nullptr;  // [teams, stages], scale_bytes apart: their scales and zeros
  int half_bytes = 0;
  int scale_bytes = 0;
  float* tails = nullptr;    // [teams, 8 vectors, kPartialTail] of a block's results
  int32_t* slots = nullptr;  // [teams] the half that holds the values of a block's results
  float* rows = nullptr;     // [quads, kNarrowRowFloats, threads] states of the rows
  NarrowQueries<Shape>* queries = nullptr;  // where they are shared
  AttentionItem* items = nullptr;           // [2] copies, where queries are shared
  uint32_t* last = nullptr;
  int stages = 0;

  // All but the places of halves.
  OCTET_DEVICE_BODY static NarrowShared Take() {
    OCTET_SHARED(float[kNarrowTeams * kNarrowVectors * Shape::kPartialTail], tails);
    OCTET_SHARED(int32_t[kNarrowTeams], slots);
    OCTET_SHARED(float[kNarrowRowFloats * Shape::kNarrowQuads * Shape::kNarrowThreads], rows);
    OCTET_SHARED(NarrowQueries<Shape>[1], queries);
    OCTET_SHARED(AttentionItem[2], items);
    OCTET_SHARED(uint32_t[1], last);
    NarrowShared shared;
    shared.tails = tails;
    shared.slots = slots;
    shared.rows = rows;
    shared.queries = queries;
    shared.items = items;
    shared.last = last;
    return shared;
  }

  OCTET_DEVICE_BODY unsigned char* half(int team, int slot) const {
    return halves + (team * stages + slot) * half_bytes;
  }
  OCTET_DEVICE_BODY unsigned char* pairs(int team, int slot) const {
    return scales + (team * stages + slot) * scale_bytes;
  }
  OCTET_DEVICE_BODY float* tail(int team, int vector) const {
    return tails + (team * kNarrowVectors + vector) * Shape::kPartialTail;
  }
};

template <class Shape>
OCTET_DEVICE_BODY int TeamOfThread() {
  return hw::computed_here(static_cast<int>(threadIdx.x)) / Shape::kTeamThreads;
}
template <class Shape>
OCTET_DEVICE_BODY int ThreadOfTeam() {
  return hw::computed_here(static_cast<int>(threadIdx.x)) % Shape::kTeamThreads;
}

// Waits for the team, and sees what it wrote.
template <class Shape>
OCTET_DEVICE_BODY void MeetTeam() {
  if constexpr (Shape::kTeamWarps == 1) {
    __syncwarp();
  } else {
    hw::bar_sync(1 + TeamOfThread<Shape>(), Shape::kTeamThreads);
  }
}

// One team's ring, and the walk over the blocks of its worker's items that are the team's own.
template <class Shape>
class CopiedRing {
 public:
  OCTET_DEVICE_BODY CopiedRing(const AttentionKernelArgs& args, const NarrowShared<Shape>& shared)
      : args_(args), shared_(shared), item_(args.begin[blockIdx.x] - 1) {
    NextItem();
  }

  // Asks for the first halves, as long as no kernel of this step writes them. Queries that are
  // shared come behind the first, or they would wait for them all. Fill asks for the rest of the
  // ring.
  OCTET_DEVICE_BODY void FillOld() {
    const int most = Shape::kSharesQueries ? 1 : shared_.stages;
    while (filled_ < most && item_ < item_end() &&
           (block_ + 1) * kBlockTokens <= args_.items[item_].settled) {
      Refill(filled_++);
    }
  }
  OCTET_DEVICE_BODY void Fill() {
    while (filled_ < shared_.stages) Refill(filled_++);
  }

  // The place of the next half, which is there.
  OCTET_DEVICE_BODY int Next() {
    WaitForHalf(shared_.stages - 1);
    MeetTeam<Shape>();
    const int slot = slot_;
    slot_ = slot + 1 == shared_.stages ? 0 : slot + 1;
    return slot;
  }

  // The place that Next gave.
  OCTET_DEVICE_BODY int Newest() const { return (slot_ == 0 ? shared_.stages : slot_) - 1; }

  // The warp is done with the half: another may take its place.
  OCTET_DEVICE_BODY void Release(int slot) {
    MeetTeam<Shape>();
    Refill(slot);
  }
  // The same of a half where warps have left results, when all have met since and have read them.
  OCTET_DEVICE_BODY void ReleaseWritten(int slot) { Refill(slot); }

  OCTET_DEVICE_BODY void Close() { hw::cp_async_wait<0>(); }

 private:
  OCTET_DEVICE_BODY int item_end() const { return args_.begin[blockIdx.x + 1]; }
  OCTET_DEVICE_BODY ItemRange Range() const { return RangeOf(args_.items[item_], args_.window); }

  // Starts the copy of the next half, or of none at the end; one commit either way.
  OCTET_DEVICE_BODY void Refill(int slot) {
    if (item_ < item_end()) {
      const std::byte* block = args_.cache + block_id_ * args_.block_bytes;
      int seen_begin = 0, seen_end = kBlockTokens;
      if constexpr (Shape::kBF16) {
        const ItemRange range = Range();
        seen_begin = range.begin - block_ * kBlockTokens;
        seen_end = range.end - block_ * kBlockTokens;
      }
      const int team = TeamOfThread<Shape>();
      CopyHalf<Shape, Shape::kTeamThreads>(shared_.half(team, slot), shared_.pairs(team, slot),
                                           block, kv_head_, value_, seen_begin, seen_end,
                                           ThreadOfTeam<Shape>());
      Advance();
    }
    hw::cp_async_commit();
  }

  OCTET_DEVICE_BODY void Advance() {
    value_ = !value_;
    if (value_) return;
    block_ += kNarrowTeams;
    if (block_ <= last_) {
      block_id_ = args_.block_tables[args_.items[item_].table_offset + block_];
      return;
    }
    ++group_;
    if (group_ == args_.items[item_].group_end) {
      NextItem();
    } else {
      Rewind();
    }
  }
  // To the team's first block in the next item that has one.
  OCTET_DEVICE_BODY void NextItem() {
    while (++item_ < item_end()) {
      group_ = args_.items[item_].group_begin;
      const ItemRange range = Range();
      last_ = range.last;
      if (OwnBlock(range.first) <= last_) {
        Rewind();
        return;
      }
    }
  }
  // The team's first, of those from `first` on.
  OCTET_DEVICE_BODY static int OwnBlock(int first) {
    return first + (TeamOfThread<Shape>() - first % kNarrowTeams + kNarrowTeams) % kNarrowTeams;
  }
  OCTET_DEVICE_BODY void Rewind() {
    block_ = OwnBlock(Range().first);
    block_id_ = args_.block_tables[args_.items[item_].table_offset + block_];
    kv_head_ = args_.groups[group_].kv_head;
  }

  const AttentionKernelArgs& args_;
  const NarrowShared<Shape>& shared_;
  int slot_ = 0;    // of the next half to use
  int filled_ = 0;  // places, at the beginning
  // The next half to ask for.
  int item_;
  int last_ = 0;  // block of the item
  int group_ = 0;
  int block_ = 0;
  int32_t block_id_ = 0;
  int32_t kv_head_ = 0;
  bool value_ = false;
};

}  // namespace octet::kernels
