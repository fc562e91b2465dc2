#include "tests/support/emulator/past.h"

#include <sys/mman.h>

#include <algorithm>

#include "base/check.h"
#include "tests/support/emulator/device_memory.h"

namespace octet::emulator {
namespace {

constexpr int64_t kWordBytes = sizeof(LaunchId);
constexpr int64_t kPageBytes = 4096;

// A number for each word of device memory, of which the system gives what is touched.
LaunchId* Reserve() {
  void* memory = mmap(nullptr, kDevices * kDeviceAddresses, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  OCTET_CHECK(memory != MAP_FAILED);
  return static_cast<LaunchId*>(memory);
}
LaunchId* const writers = Reserve();

int64_t WordOf(const void* address) {
  return (static_cast<const std::byte*>(address) - device_memory) / kWordBytes;
}

}  // namespace

Chain::Launch Chain::WriterOf(const void* address, int64_t bytes) const {
  if (launches_.empty()) return {};
  const int64_t last = WordOf(static_cast<const std::byte*>(address) + bytes - 1);
  for (int64_t word = WordOf(address); word <= last; ++word) {
    if (writers[word] < launches_.front().id) continue;
    const auto found =
        std::lower_bound(launches_.begin(), launches_.end(), writers[word],
                         [](const Launch& launch, LaunchId id) { return launch.id < id; });
    if (found != launches_.end() && found->id == writers[word]) return *found;
  }
  return {};
}

void RecordWrite(const void* address, int64_t bytes, LaunchId launch) {
  const int64_t last = WordOf(static_cast<const std::byte*>(address) + bytes - 1);
  for (int64_t word = WordOf(address); word <= last; ++word) writers[word] = launch;
}

void ForgetWrites(const void* address, int64_t bytes) {
  OCTET_CHECK_EQ(reinterpret_cast<uintptr_t>(address) % kPageBytes, 0u);
  madvise(writers + WordOf(address), static_cast<size_t>(bytes), MADV_DONTNEED);
}

}  // namespace octet::emulator
