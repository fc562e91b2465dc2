#include "tests/support/emulator/launch.h"

#include <sanitizer/common_interface_defs.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "tests/support/emulator/device_memory.h"
#include "tests/support/emulator/scheduler.h"

namespace octet::emulator {
namespace {

std::mutex& LaunchMutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}

int64_t FromEnvironment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::atoll(text) : otherwise;
}

std::string Triple(const Index3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " +
         std::to_string(index.z) + ")";
}

// Printed after a report of a sanitizer, too.
void PrintThread() {
  if (current_scheduler != nullptr) {
    const KernelCall& kernel = current_scheduler->kernel();
    std::fprintf(stderr, "  in the kernel launched at %s:%d", kernel.file, kernel.line);
    if (current_thread != nullptr)
      std::fprintf(stderr, ", block %s, thread %s", Triple(current_thread->block->index).c_str(),
                   Triple(current_thread->position).c_str());
    std::fprintf(stderr, "\n");
  } else {
    std::fprintf(
        stderr,
        "  no kernel was running; device memory is %p..%p, and a fault in it says that the "
        "host touched it\n",
        static_cast<void*>(device_memory),
        static_cast<void*>(device_memory + kDevices * kDeviceAddresses));
  }
}

[[maybe_unused]] const bool kCallbackSet = [] {
  __sanitizer_set_death_callback(PrintThread);
  return true;
}();

void RunKernel(const KernelCall& kernel, const LaunchShape& shape, uint64_t seed, Chain& chain) {
  const DeviceLock lock;
  const DeviceMemoryAccess access;
  const auto id = static_cast<LaunchId>(++MutableCounts().launches);
  if (!shape.early) chain.Settle();
  Scheduler scheduler(kernel, shape, seed, id, chain);
  scheduler.Run();
  chain.Add({id, kernel.file, kernel.line});
}

void CheckShape(const LaunchShape& shape, const KernelCall& kernel) {
  const auto refuse = [&](const std::string& what) {
    std::fprintf(stderr, "octet emulator: launch at %s:%d: %s\n", kernel.file, kernel.line,
                 what.c_str());
    std::fflush(stderr);
    _exit(kFailureExit);
  };
  const Index3 &grid = shape.grid, &block = shape.block;
  if (shape.block_count() == 0 || grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535)
    refuse("a grid of " + Triple(grid) + " blocks");
  if (int64_t{block.x} * block.y * block.z < 1 ||
      int64_t{block.x} * block.y * block.z > kBlockThreadsMax || block.z > 64)
    refuse("a block of " + Triple(block) + " threads");
  if (shape.cluster > kClusterBlocksMax)
    refuse("clusters of " + std::to_string(shape.cluster) + " blocks");
  if (shape.shared_bytes < 0 || shape.shared_bytes > shape.shared_bytes_max)
    refuse(std::to_string(shape.shared_bytes) + " bytes of shared memory, on a device with " +
           std::to_string(shape.shared_bytes_max) + " for a block");
}

}  // namespace

Settings& CurrentSettings() {
  static Settings settings{static_cast<uint64_t>(FromEnvironment("OCTET_EMULATOR_SEED", 1)),
                           static_cast<int>(FromEnvironment("OCTET_EMULATOR_CAPABILITY", 90)),
                           int64_t{16} << 30};
  return settings;
}
Counts& MutableCounts() {
  static Counts counts;
  return counts;
}

void SetSeed(uint64_t seed) { CurrentSettings().seed = seed; }
void SetCapability(int capability) { CurrentSettings().capability = capability; }
void SetDeviceBytes(int64_t bytes) { CurrentSettings().device_bytes = bytes; }
Counts CountsSoFar() { return MutableCounts(); }

void Fail(const std::string& what, const Place& place) {
  std::fprintf(stderr, "octet emulator: %s\n  at %s:%u in %s\n", what.c_str(), place.file_name(),
               place.line(), place.function_name());
  PrintThread();
  std::fflush(stderr);
  _exit(kFailureExit);
}

Index3 ThreadIndex() { return current_thread->position; }
Index3 BlockIndex() { return current_thread->block->index; }
Index3 BlockDim() { return current_scheduler->shape().block; }
Index3 GridDim() { return current_scheduler->shape().grid; }

DeviceLock::DeviceLock() { LaunchMutex().lock(); }
DeviceLock::~DeviceLock() { LaunchMutex().unlock(); }

Queue& QueueOf(Stream& stream) { return *static_cast<Queue*>(stream.handle()); }

void Submit(Stream& stream, std::function<void()> work) {
  CheckCurrent(stream, "work of a device");
  Queue& queue = QueueOf(stream);
  if (queue.recording != nullptr) {
    queue.recording->work.push_back(std::move(work));
  } else {
    work();
  }
}

void SubmitSettled(Stream& stream, std::function<void()> work) {
  Submit(stream, [work = std::move(work), &chain = QueueOf(stream).chain] {
    work();
    chain.Settle();
  });
}

void Enqueue(const KernelCall& kernel, const dim3& grid, const dim3& block, LaunchKind kind,
             int64_t shared_bytes, Stream& stream) {
  const bool clusters = kind == LaunchKind::kEarlyClusters;
  const LaunchShape shape{{grid.x, grid.y, grid.z},  {block.x, block.y, block.z},
                          clusters ? grid.x : 1,     shared_bytes,
                          stream.info().index,       stream.info().shared_bytes_per_block,
                          kind != LaunchKind::kPlain};
  CheckShape(shape, kernel);
  Queue& queue = QueueOf(stream);
  const uint64_t base = CurrentSettings().seed;
  // Each launch of a queue has an order of its own.
  const uint64_t seed = base == 0 ? 0 : base * 0x9E3779B97F4A7C15u + ++queue.launches;
  Submit(stream,
         [kernel, shape, seed, &chain = queue.chain] { RunKernel(kernel, shape, seed, chain); });
}

}  // namespace octet::emulator
