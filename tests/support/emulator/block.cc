#include "tests/support/emulator/block.h"

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/check.h"

namespace octet::emulator {
namespace {

// By the number of threads; never destroyed, as LeakSanitizer runs after everything else.
std::map<int, std::vector<std::unique_ptr<Block>>>& IdleBlocks() {
  static auto* blocks = new std::map<int, std::vector<std::unique_ptr<Block>>>;
  return *blocks;
}
std::vector<Arena*>& IdleArenas() {
  static auto* arenas = new std::vector<Arena*>;
  return *arenas;
}

Arena* TakeArena(int threads) {
  Arena* arena = nullptr;
  if (IdleArenas().empty()) {
    arena = new Arena;
    void* memory =
        mmap(nullptr, Arena::kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    OCTET_CHECK(memory != MAP_FAILED);
    arena->data = static_cast<std::byte*>(memory);
    __asan_poison_memory_region(arena->data, Arena::kBytes);
  } else {
    arena = IdleArenas().back();
    IdleArenas().pop_back();
  }
  arena->words.Reset(Arena::kBytes, threads);
  return arena;
}

Index3 Unflatten(int64_t index, const Index3& size) {
  return {static_cast<unsigned>(index % size.x), static_cast<unsigned>(index / size.x % size.y),
          static_cast<unsigned>(index / size.x / size.y)};
}

std::unique_ptr<Block> MakeBlock(int thread_count) {
  auto block = std::make_unique<Block>();
  block->thread_count = thread_count;
  block->threads = std::make_unique<Thread[]>(thread_count);
  block->warps.resize((thread_count + kWarpLanes - 1) / kWarpLanes);
  block->warpgroups.resize(thread_count / 128);
  for (int i = 0; i < thread_count; ++i) {
    Thread& thread = block->threads[i];
    thread.block = block.get();
    thread.index = i;
    thread.lane = i % kWarpLanes;
    thread.warp = &block->warps[i / kWarpLanes];
    thread.warp->lanes[thread.lane] = &thread;
    thread.warp->members |= BitOf(thread);
    thread.clock.known.assign(block->actors(), 0);
  }
  block->global_clock.known.assign(block->actors(), 0);
  block->proxy_fences.assign(thread_count, 0);
  for (Barrier& barrier : block->barriers) barrier.clock.known.assign(block->actors(), 0);
  return block;
}

}  // namespace

std::unique_ptr<Block> TakeBlock(const LaunchShape& shape, int64_t index, Time known,
                                 void (*entry)()) {
  auto& idle = IdleBlocks()[shape.thread_count()];
  if (idle.empty()) idle.push_back(MakeBlock(shape.thread_count()));
  std::unique_ptr<Block> block = std::move(idle.back());
  idle.pop_back();
  block->index = Unflatten(index, shape.grid);
  block->live = block->thread_count;
  block->global_clock.floor = known;
  for (int i = 0; i < block->thread_count; ++i) {
    Thread& thread = block->threads[i];
    thread.position = Unflatten(i, shape.block);
    thread.clock.floor = known;
    thread.knows_past = !shape.early;
    PrepareFiber(thread.fiber, entry);
  }
  for (Warp& warp : block->warps) warp.ready = warp.members;
  block->arena = TakeArena(block->thread_count);
  // A gap after each part, as wide as the arena affords, so that no overrun jumps over it.
  const int64_t spare = Arena::kBytes - shape.shared_bytes;
  block->red_zone = static_cast<uint32_t>(std::clamp<int64_t>(spare / 16, 128, 4096));
  return block;
}

void ReturnBlock(std::unique_ptr<Block> block) {
  for (int i = 0; i < block->thread_count; ++i) {
    Thread& thread = block->threads[i];
    ReleaseFiber(thread.fiber);
    thread.done = thread.polls = false;
    thread.wait = {};
    thread.barrier = -1;
    thread.polled = nullptr;
    thread.copies.clear();
    thread.copy_groups.clear();
  }
  for (Warp& warp : block->warps) warp.ready = warp.done = warp.meeting = warp.at_barrier = 0;
  for (Warpgroup& group : block->warpgroups) group = {};
  for (Barrier& barrier : block->barriers) {
    barrier.expected = barrier.arrived = barrier.votes = 0;
    barrier.waiting.clear();
  }
  block->memory_barriers.clear();
  block->bulk_copies.clear();
  block->cluster.reset();
  block->statics.clear();
  block->dynamics.clear();
  __asan_poison_memory_region(block->arena->data, block->arena_used);
  IdleArenas().push_back(block->arena);
  block->arena = nullptr;
  block->arena_used = 0;
  block->dynamic_used = block->static_used = 0;
  IdleBlocks()[block->thread_count].push_back(std::move(block));
}

}  // namespace octet::emulator
