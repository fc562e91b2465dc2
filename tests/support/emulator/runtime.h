// What the emulator does for a kernel, as seen by the kernel's own translation unit. Everything
// here but thin templates is defined in files that are compiled without sanitizers: they check the
// memory they touch themselves. A violation prints one report and ends the process with
// kFailureExit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <source_location>
#include <string>

struct dim3;
namespace octet {
class Stream;
}

namespace octet::emulator {

using Place = std::source_location;
inline constexpr int kFailureExit = 97;
inline constexpr int kWarpLanes = 32;
inline constexpr int kBlockThreadsMax = 1024;
inline constexpr unsigned kClusterBlocksMax = 8;
inline constexpr int64_t kSharedBytesMax = 227 * 1024;  // of a block, on compute capability 9.0
inline constexpr int64_t kStaticSharedBytesMax = 48 * 1024;

struct Index3 {
  unsigned x, y, z;
};
Index3 ThreadIndex();
Index3 BlockIndex();
Index3 BlockDim();
Index3 GridDim();

// Prints what is wrong, where, and which thread of which block was running; ends the process.
[[noreturn]] void Fail(const std::string& what, const Place& place);

enum class Shuffle { kIndex, kUp, kDown, kXor };
enum class Reduction { kAdd, kMin, kMax };
uint64_t ShuffleBits(Shuffle mode, uint32_t mask, uint64_t value, int argument, int width,
                     const Place& place);
uint32_t Ballot(uint32_t mask, bool predicate, const Place& place);
int64_t Reduce(Reduction kind, uint32_t mask, int64_t value, const Place& place);
void SyncWarp(uint32_t mask, const Place& place);
// Returns how many threads gave true.
int SyncThreads(const Place& place, bool predicate);

// Around one atomic operation on `bytes` at `address`: checks it and lets others run before it.
void BeginAtomic(const void* address, int bytes, const Place& place);
template <typename T, typename Change>
__attribute__((no_sanitize("address", "undefined"))) T Atomic(T* address, const Change& change,
                                                              const Place& place) {
  BeginAtomic(address, sizeof(T), place);
  const T before = *address;
  *address = change(before);
  return before;
}

// A variable in static shared memory; `tag` is one address for each variable.
void* StaticShared(const void* tag, int64_t bytes, int64_t alignment, const Place& place);
// Part `index` of dynamic shared memory.
void* DynamicShared(int index, int64_t bytes, int64_t alignment, const Place& place);

// A launch: `call(arguments)` is what each thread runs.
struct KernelCall {
  const char* file;
  int line;
  void (*call)(const void* arguments);
  std::shared_ptr<const void> arguments;
  int64_t argument_bytes;
};
// kEarlyClusters: the blocks of each row of the grid are one.
enum class LaunchKind { kPlain, kEarly, kEarlyClusters };
void Enqueue(const KernelCall& kernel, const dim3& grid, const dim3& block, LaunchKind kind,
             int64_t shared_bytes, Stream& stream);
// hw::wait_for_past.
void WaitForPast(const Place& place);

}  // namespace octet::emulator
