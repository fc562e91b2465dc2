// A block of threads while it runs: fibers, warps, barriers, shared memory, and what is under way.
#pragma once

#include <array>
#include <bit>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/emulator/fiber.h"
#include "tests/support/emulator/hw_matrix.h"
#include "tests/support/emulator/race.h"
#include "tests/support/emulator/runtime.h"

namespace octet::emulator {

struct Block;
struct Warp;

// Why a thread does not run. `what` is a literal.
struct Wait {
  const char* what = nullptr;
  Place place;
};

struct AsyncCopy {
  uint32_t offset;
  const std::byte* source;  // null: zeros
  int bytes;
  PlaceId place;
};

struct Thread {
  Fiber fiber;
  Block* block = nullptr;
  Warp* warp = nullptr;
  int index = 0;  // in the block
  int lane = 0;
  Index3 position{};
  bool done = false;
  bool knows_past = false;  // what the launches ahead wrote
  Wait wait;
  // A meeting of lanes: what this lane brought, and with whom it meets.
  uint32_t meeting_mask = 0;
  void* meeting_arguments = nullptr;
  int barrier = -1;    // waits at this one
  bool polls = false;  // waits for another block
  const void* polled = nullptr;
  uint32_t polled_line = 0;
  int64_t polled_progress = -1;     // the scheduler's when the thread looked last
  std::vector<AsyncCopy> copies;    // under way, oldest first
  std::vector<size_t> copy_groups;  // where each committed group ends in `copies`
  Clock clock;
};

struct Warp {
  std::array<Thread*, kWarpLanes> lanes{};
  uint32_t members = 0;
  uint32_t ready = 0;
  uint32_t done = 0;
  uint32_t meeting = 0;     // lanes that wait for others of the warp
  uint32_t at_barrier = 0;  // lanes that wait at a barrier of the block
  uint32_t priority = 0;
  int next_lane = 0;
};

struct Barrier {
  int expected = 0;
  int arrived = 0;
  int votes = 0;
  int result = 0;
  std::vector<Thread*> waiting;
  Place place;
  Clock clock;             // of those that only arrived,
  bool has_clock = false;  // if any did
};

struct MemoryBarrier {
  uint32_t count = 0;
  uint32_t pending = 0;
  int64_t bytes_due = 0;
  uint32_t phase = 0;
  std::vector<Thread*> waiting;
  Clock clock;
};

// What a copy of a box of a matrix reads: of each of the box's rows, as many bytes as there are.
struct TensorBox {
  int64_t stride = 0;  // bytes
  int32_t rows = 0;
  int32_t row_bytes = 0;
};

struct BulkCopy {
  uint32_t offset;
  const std::byte* source;
  int64_t bytes;
  uint32_t barrier;
  PlaceId place;
  bool is_box = false;  // else a run of bytes
  TensorBox box = {};
};

struct SharedPart {
  uint32_t offset;
  int64_t bytes;
  int64_t alignment;
};

// Shared memory and the record of who touched it; kept from launch to launch.
struct Arena {
  static constexpr int64_t kBytes = 255 * 1024;  // a matrix descriptor reaches 256 KB
  std::byte* data = nullptr;
  SharedWords words;
};

struct WgmmaInFlight {
  std::array<Wgmma, 128> threads{};
  std::vector<float> sums;            // [64, columns] f32 results
  std::vector<int32_t> integer_sums;  // [64, columns]
  std::vector<uint32_t> a_registers;  // [128, 4] as they were
  std::vector<uint32_t> runs;         // offsets of 16-byte runs of shared memory that are read
  PlaceId place = 0;
};

struct Warpgroup {
  std::vector<Thread*> waiting;
  const char* what = nullptr;
  Place place;
  std::array<void*, 128> arguments{};
  bool fenced = false;
  std::vector<WgmmaInFlight> open;
  std::deque<std::vector<WgmmaInFlight>> groups;
};

// Blocks that run side by side, neighbours in the grid.
struct Cluster {
  std::vector<Block*> blocks;
  bool ended = false;            // one of them has
  std::vector<Thread*> waiting;  // in cluster_sync
  Place place;                   // of the one that they wait in
};

struct Block {
  Index3 index{};
  std::unique_ptr<Thread[]> threads;
  int thread_count = 0;
  int live = 0;
  std::vector<Warp> warps;
  std::vector<Warpgroup> warpgroups;
  std::array<Barrier, 16> barriers;
  std::map<uint32_t, MemoryBarrier> memory_barriers;
  std::vector<BulkCopy> bulk_copies;
  Clock global_clock;              // of atomics with release
  std::vector<Time> proxy_fences;  // [threads]
  std::shared_ptr<Cluster> cluster;
  Arena* arena = nullptr;
  uint32_t arena_used = 0;
  int64_t dynamic_used = 0;  // as on a device, where there are no gaps
  int64_t static_used = 0;
  uint32_t red_zone = 0;
  std::map<const void*, SharedPart> statics;
  std::vector<SharedPart> dynamics;

  int actors() const { return thread_count + 1 + static_cast<int>(warpgroups.size()); }
  int bulk_actor() const { return thread_count; }
  int matrix_actor(int warpgroup) const { return thread_count + 1 + warpgroup; }
};

struct LaunchShape {
  Index3 grid, block;
  unsigned cluster = 1;  // blocks
  int64_t shared_bytes = 0;
  int device = 0;
  int64_t shared_bytes_max = kSharedBytesMax;  // of the device, static and dynamic
  bool early = false;
  int64_t block_count() const { return int64_t{grid.x} * grid.y * grid.z; }
  int thread_count() const { return static_cast<int>(block.x * block.y * block.z); }
};

// A block whose threads start in `entry`, and know what happened up to `known`. Blocks and arenas
// are kept for the next of their size.
std::unique_ptr<Block> TakeBlock(const LaunchShape& shape, int64_t index, Time known,
                                 void (*entry)());
// REQUIRES: all threads have ended.
void ReturnBlock(std::unique_ptr<Block> block);

inline uint32_t BitOf(const Thread& thread) { return 1u << thread.lane; }

}  // namespace octet::emulator
