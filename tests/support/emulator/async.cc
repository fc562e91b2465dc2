// Copies that run on, barriers in shared memory, and the words of global memory by which blocks
// talk.
#include <algorithm>
#include <cstring>

#include "tests/support/emulator/scheduler.h"

namespace octet::emulator {
namespace {

constexpr uint64_t kBarrierMagic = 0x4F63746574426172u;

void Report(const std::string& problem, const Place& place) {
  if (!problem.empty()) Fail(problem, place);
}

Access AccessBy(int actor, AccessKind kind, PlaceId place, bool generic) {
  return {actor, kind, place, generic};
}

void IssueCopy(void* shared, const void* global, int bytes, bool full, const Place& place) {
  Thread& self = Self(place);
  current_scheduler->MaybeGiveWay();
  const uint32_t offset = CheckShared(shared, bytes, bytes, "cp_async", place);
  if (full) CheckGlobal(global, bytes, AccessKind::kRead, "cp_async", place);
  Report(self.block->arena->words.TakeOff(
             offset, bytes, AccessBy(self.index, AccessKind::kWrite, IdOf(place), true), self.clock,
             nullptr, current_scheduler->now()),
         place);
  std::memset(shared, 0xFF, static_cast<size_t>(bytes));
  self.copies.push_back(
      {offset, full ? static_cast<const std::byte*>(global) : nullptr, bytes, IdOf(place)});
}

void LandCopy(Thread& thread, const AsyncCopy& copy) {
  Arena& arena = *thread.block->arena;
  if (copy.source != nullptr) {
    std::memcpy(arena.data + copy.offset, copy.source, static_cast<size_t>(copy.bytes));
  } else {
    std::memset(arena.data + copy.offset, 0, static_cast<size_t>(copy.bytes));
  }
  arena.words.Land(copy.offset, copy.bytes,
                   AccessBy(thread.index, AccessKind::kWrite, copy.place, true),
                   current_scheduler->now());
}

MemoryBarrier& FindBarrier(const uint64_t* barrier, uint32_t* offset, const char* what,
                           const Place& place) {
  *offset = CheckShared(barrier, sizeof(uint64_t), sizeof(uint64_t), what, place);
  Block& block = *current_thread->block;
  const auto found = block.memory_barriers.find(*offset);
  if (found == block.memory_barriers.end())
    Fail(std::string(what) + ": the barrier is not initialised", place);
  if (std::memcmp(barrier, &kBarrierMagic, sizeof(kBarrierMagic)) != 0)
    Fail(std::string(what) + ": the barrier's words were overwritten", place);
  return found->second;
}

void EndPhaseIfDue(MemoryBarrier& barrier) {
  if (barrier.pending != 0 || barrier.bytes_due != 0) return;
  ++barrier.phase;
  barrier.pending = barrier.count;
  for (Thread* thread : barrier.waiting) {
    thread->clock.Join(barrier.clock);
    current_scheduler->Wake(*thread);
  }
  barrier.waiting.clear();
}

void ArriveAt(uint64_t* address, int64_t bytes, const char* what, const Place& place) {
  Thread& self = Self(place);
  current_scheduler->MaybeGiveWay();
  uint32_t offset = 0;
  MemoryBarrier& barrier = FindBarrier(address, &offset, what, place);
  if (barrier.pending == 0)
    Fail(std::string(what) + ": more arrivals than the " + std::to_string(barrier.count) +
             " of the phase",
         place);
  barrier.bytes_due += bytes;
  --barrier.pending;
  barrier.clock.Join(self.clock);
  barrier.clock.known[self.index] = current_scheduler->NextTime() - 1;
  EndPhaseIfDue(barrier);
}

// What any thread of the block did before a release to global memory, one that acquires knows: a
// little more than the hardware promises.
void Release(Thread& self) {
  self.block->global_clock.Join(self.clock);
  self.block->global_clock.known[self.index] = current_scheduler->NextTime() - 1;
}

// What hw::TensorMap holds here.
struct EmulatedTensorMap {
  uint64_t magic;
  const std::byte* values;
  int64_t rows;
  int64_t inputs;
  int64_t stride;  // bytes
  int64_t box_rows;
};
static_assert(sizeof(EmulatedTensorMap) <= sizeof(hw::TensorMap));
constexpr uint64_t kTensorMapMagic = 0x4F63746574546E73u;
constexpr int kBoxRowBytes = 2 * hw::kTensorBoxInputs;

EmulatedTensorMap ReadTensorMap(const hw::TensorMap& map, const Place& place) {
  EmulatedTensorMap read;
  std::memcpy(&read, &map, sizeof(read));
  if (read.magic != kTensorMapMagic)
    Fail("tensor_load: the map was not made by MakeTensorMap", place);
  return read;
}

// In 128-byte rows, chunk c of row r at c ^ (r % 8).
void CopyBox(const BulkCopy& copy, std::byte* to) {
  std::memset(to, 0, static_cast<size_t>(copy.bytes));
  for (int row = 0; row < copy.box.rows; ++row) {
    for (int at = 0; at < copy.box.row_bytes; at += 16) {
      std::memcpy(to + row * kBoxRowBytes + (at ^ row % 8 * 16),
                  copy.source + row * copy.box.stride + at,
                  static_cast<size_t>(std::min(16, copy.box.row_bytes - at)));
    }
  }
}

// Takes the copy off: until it lands, no one may touch where it goes.
void IssueBulkCopy(const BulkCopy& copy, Thread& self, const Place& place) {
  Report(self.block->arena->words.TakeOff(
             copy.offset, copy.bytes, AccessBy(self.index, AccessKind::kWrite, copy.place, false),
             self.clock, &self.block->proxy_fences, current_scheduler->now()),
         place);
  std::memset(self.block->arena->data + copy.offset, 0xFF, static_cast<size_t>(copy.bytes));
  self.block->bulk_copies.push_back(copy);
}

}  // namespace

void DeliverBulkCopy(Block& block, const BulkCopy& copy) {
  std::byte* to = block.arena->data + copy.offset;
  if (copy.is_box) {
    CopyBox(copy, to);
  } else {
    std::memcpy(to, copy.source, static_cast<size_t>(copy.bytes));
  }
  block.arena->words.Land(copy.offset, copy.bytes,
                          AccessBy(block.bulk_actor(), AccessKind::kWrite, copy.place, false),
                          current_scheduler->now());
  MemoryBarrier& barrier = block.memory_barriers.at(copy.barrier);
  barrier.bytes_due -= copy.bytes;
  barrier.clock.known[block.bulk_actor()] = current_scheduler->NextTime() - 1;
  EndPhaseIfDue(barrier);
}

}  // namespace octet::emulator

namespace octet::hw {

using namespace octet::emulator;  // NOLINT: the two halves of one thing

uint32_t smem_addr(const void* shared, Place place) {
  const Block& block = *Self(place).block;
  const auto offset = static_cast<const std::byte*>(shared) - block.arena->data;
  if (offset < 0 || offset >= Arena::kBytes)
    Fail("smem_addr: the address is not in the block's shared memory", place);
  return static_cast<uint32_t>(offset);
}

uint4 load16_once(const void* global, CachePolicy, Place place) {
  CheckGlobal(global, 16, AccessKind::kRead, "load16_once", place);
  uint4 value;
  std::memcpy(&value, global, sizeof(value));
  return value;
}

void load16_ahead(uint4& to, const void* global, CachePolicy policy, bool wanted, Place place) {
  if (wanted) to = load16_once(global, policy, place);
}
void load4_ahead(uint32_t& to, const void* global, CachePolicy, bool wanted, Place place) {
  if (!wanted) return;
  CheckGlobal(global, sizeof(to), AccessKind::kRead, "load4_ahead", place);
  std::memcpy(&to, global, sizeof(to));
}

void store16(void* global, uint4 value, Place place) {
  CheckGlobal(global, sizeof(value), AccessKind::kWrite, "store16", place);
  std::memcpy(global, &value, sizeof(value));
}
void store8(void* global, uint2 value, Place place) {
  CheckGlobal(global, sizeof(value), AccessKind::kWrite, "store8", place);
  std::memcpy(global, &value, sizeof(value));
}

uint32_t ld_acquire(const uint32_t* global, Place place) {
  Thread& self = Self(place);
  CheckGlobal(global, sizeof(uint32_t), AccessKind::kRead, "ld_acquire", place);
  // Looking again can be of use only after someone else did something.
  const bool in_vain = self.polled == global && self.polled_line == place.line() &&
                       self.polled_progress == current_scheduler->progress();
  if (in_vain) {
    current_scheduler->Poll(place);
  } else {
    current_scheduler->MaybeGiveWay();
  }
  self.polled = global;
  self.polled_line = place.line();
  self.polled_progress = current_scheduler->progress();
  self.clock.Join(self.block->global_clock);
  return *global;
}

void red_release_add(uint32_t* global, uint32_t value, Place place) {
  atom_add_acq_rel(global, value, place);
}

uint32_t atom_add_acq_rel(uint32_t* global, uint32_t value, Place place) {
  BeginAtomic(global, sizeof(uint32_t), place);
  Thread& self = *current_thread;
  Release(self);
  self.clock.Join(self.block->global_clock);
  const uint32_t before = *global;
  *global = before + value;
  return before;
}

void cp_async16(void* shared, const void* global, bool full, Place place) {
  IssueCopy(shared, global, 16, full, place);
}
void cp_async4(void* shared, const void* global, bool full, Place place) {
  IssueCopy(shared, global, 4, full, place);
}

void cp_async_commit(Place place) {
  Thread& self = Self(place);
  self.copy_groups.push_back(self.copies.size());
}

void CpAsyncWait(int newest, const Place& place) {
  Thread& self = Self(place);
  current_scheduler->MaybeGiveWay();
  const int64_t over = static_cast<int64_t>(self.copy_groups.size()) - newest;
  if (over <= 0) return;
  const size_t landed = self.copy_groups[static_cast<size_t>(over - 1)];
  for (size_t i = 0; i < landed; ++i) LandCopy(self, self.copies[i]);
  self.copies.erase(self.copies.begin(), self.copies.begin() + static_cast<int64_t>(landed));
  self.copy_groups.erase(self.copy_groups.begin(), self.copy_groups.begin() + over);
  for (size_t& end : self.copy_groups) end -= landed;
}

void mbar_init(uint64_t* barrier, uint32_t arrivals, Place place) {
  Thread& self = Self(place);
  const uint32_t offset =
      CheckShared(barrier, sizeof(uint64_t), sizeof(uint64_t), "mbar_init", place);
  if (arrivals == 0) Fail("mbar_init: a phase needs one arrival at least", place);
  MemoryBarrier& made = self.block->memory_barriers[offset];
  if (made.count != 0) Fail("mbar_init: the barrier is initialised already", place);
  made.count = made.pending = arrivals;
  made.clock.known.assign(static_cast<size_t>(self.block->actors()), 0);
  TouchShared(offset, sizeof(uint64_t), AccessKind::kWrite, place);
  std::memcpy(barrier, &kBarrierMagic, sizeof(kBarrierMagic));
  self.block->arena->words.MakeBarrier(offset, IdOf(place));
}

void mbar_arrive(uint64_t* barrier, Place place) { ArriveAt(barrier, 0, "mbar_arrive", place); }

void mbar_arrive_expect_tx(uint64_t* barrier, uint32_t bytes, Place place) {
  ArriveAt(barrier, bytes, "mbar_arrive_expect_tx", place);
}

void mbar_wait(uint64_t* address, uint32_t parity, Place place) {
  Thread& self = Self(place);
  current_scheduler->MaybeGiveWay();
  uint32_t offset = 0;
  MemoryBarrier& barrier = FindBarrier(address, &offset, "mbar_wait", place);
  if (parity > 1) Fail("mbar_wait: the parity is 0 or 1", place);
  if ((barrier.phase & 1u) != parity) {
    self.clock.Join(barrier.clock);
    return;
  }
  barrier.waiting.push_back(&self);
  current_scheduler->Sleep("mbar_wait", place);
}

void bulk_load(void* shared, const void* global, uint32_t bytes, uint64_t* barrier, Place place) {
  Thread& self = Self(place);
  current_scheduler->MaybeGiveWay();
  if (bytes == 0 || bytes % 16 != 0)
    Fail("bulk_load: " + std::to_string(bytes) + " bytes are not a multiple of 16", place);
  const uint32_t offset = CheckShared(shared, bytes, 16, "bulk_load", place);
  CheckGlobal(global, bytes, AccessKind::kRead, "bulk_load", place);
  uint32_t barrier_offset = 0;
  FindBarrier(barrier, &barrier_offset, "bulk_load", place);
  IssueBulkCopy({offset, static_cast<const std::byte*>(global), bytes, barrier_offset, IdOf(place)},
                self, place);
}
void bulk_load(void* shared, const void* global, uint32_t bytes, uint64_t* barrier, CachePolicy,
               Place place) {
  bulk_load(shared, global, bytes, barrier, place);
}

void bulk_prefetch(const void* global, uint32_t bytes, Place place) {
  if (bytes == 0 || bytes % 16 != 0)
    Fail("bulk_prefetch: " + std::to_string(bytes) + " bytes are not a multiple of 16", place);
  CheckGlobal(global, bytes, AccessKind::kRead, "bulk_prefetch", place);
}

TensorMap MakeTensorMap(const void* values, int64_t rows, int64_t inputs, int64_t stride,
                        int32_t box_rows) {
  const Place place = Place::current();
  const auto bad = [&](const char* what) { Fail(std::string("MakeTensorMap: ") + what, place); };
  if (reinterpret_cast<uintptr_t>(values) % 16 != 0) bad("the values are not aligned to 16");
  if (rows < 1 || inputs < 1 || rows > INT32_MAX || inputs > INT32_MAX) bad("no rows or inputs");
  if (stride % 8 != 0 || stride < inputs) bad("rows do not lie at multiples of 16 bytes");
  if (box_rows < 1 || box_rows > kTensorBoxRowsMax) bad("a box has 1 to 256 rows");
  const EmulatedTensorMap made = {
      kTensorMapMagic, static_cast<const std::byte*>(values), rows, inputs, 2 * stride, box_rows};
  TensorMap map = {};
  std::memcpy(&map, &made, sizeof(made));
  return map;
}

void tensor_load(void* shared, const TensorMap& map, int32_t input, int32_t row, uint64_t* barrier,
                 Place place) {
  Thread& self = Self(place);
  current_scheduler->MaybeGiveWay();
  const EmulatedTensorMap from = ReadTensorMap(map, place);
  const int64_t bytes = from.box_rows * kBoxRowBytes;
  const uint32_t offset = CheckShared(shared, bytes, 16, "tensor_load", place);
  if (offset % 1024 != 0) Fail("tensor_load: shared memory is not aligned to 1024", place);
  if (input < 0 || row < 0) Fail("tensor_load: the box begins before the matrix", place);
  uint32_t barrier_offset = 0;
  FindBarrier(barrier, &barrier_offset, "tensor_load", place);
  TensorBox box;
  box.stride = from.stride;
  box.rows = static_cast<int32_t>(std::clamp<int64_t>(from.rows - row, 0, from.box_rows));
  box.row_bytes =
      static_cast<int32_t>(2 * std::clamp<int64_t>(from.inputs - input, 0, hw::kTensorBoxInputs));
  if (box.row_bytes == 0) box.rows = 0;
  const std::byte* first = from.values + row * from.stride + int64_t{2} * input;
  for (int i = 0; i < box.rows; ++i) {
    CheckGlobalBytes(first + i * box.stride, box.row_bytes, AccessKind::kRead, "tensor_load",
                     place);
  }
  IssueBulkCopy({offset, first, bytes, barrier_offset, IdOf(place), true, box}, self, place);
}

void tensor_prefetch(const TensorMap& map, Place place) { ReadTensorMap(map, place); }

void fence_proxy_async(Place place) {
  Thread& self = Self(place);
  self.block->proxy_fences[static_cast<size_t>(self.index)] = current_scheduler->NextTime() - 1;
}

}  // namespace octet::hw
