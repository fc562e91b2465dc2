#include "tests/support/emulator/device_memory.h"

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "base/check.h"
#include "tests/support/emulator/launch.h"
#include "tests/support/emulator/past.h"

namespace octet::emulator {
namespace {

constexpr int64_t kPageBytes = 4096;
constexpr int64_t kAlignment = 256;

std::byte* Reserve() {
  void* memory = mmap(nullptr, kDevices * kDeviceAddresses, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  OCTET_CHECK(memory != MAP_FAILED);
  return static_cast<std::byte*>(memory);
}

// What is given out so far, and who works with it.
struct State {
  std::mutex mutex;
  struct Device {
    int64_t top = 0;  // addresses below were given out or are gaps
    int64_t live_bytes = 0;
  };
  Device devices[kDevices];
  int users = 0;
  int64_t uses = 0;  // that have ended
  bool guarded = true;
  bool faults = false;  // the host may touch nothing now
};
State& TheState() {
  static State* state = [] {
    auto* made = new State;
    const char* guard = std::getenv("OCTET_EMULATOR_GUARD");
    made->guarded = guard == nullptr || std::strcmp(guard, "0") != 0;
    return made;
  }();
  return *state;
}

// Changing the protection of all device memory costs some 10 us. A host that touches it by mistake
// does so in what a test repeats: after the first uses every 16th is enough.
constexpr int64_t kUsesGuardedEach = 2000;
constexpr int64_t kUsesGuardedLater = 16;

void Protect(State& state, bool faults) {
  if (!state.guarded || state.faults == faults) return;
  if (faults && ++state.uses > kUsesGuardedEach && state.uses % kUsesGuardedLater != 0) return;
  state.faults = faults;
  const int protection = faults ? PROT_NONE : PROT_READ | PROT_WRITE;
  for (int i = 0; i < kDevices; ++i) {
    const int64_t top = state.devices[i].top;
    if (top > 0)
      OCTET_CHECK_EQ(
          mprotect(device_memory + i * kDeviceAddresses, static_cast<size_t>(top), protection), 0);
  }
}

}  // namespace

std::byte* const device_memory = Reserve();

DeviceMemoryAccess::DeviceMemoryAccess() {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  if (state.users++ == 0) Protect(state, false);
}

DeviceMemoryAccess::~DeviceMemoryAccess() {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  if (--state.users == 0) Protect(state, true);
}

int64_t FreeDeviceBytes(int device) {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  return CurrentSettings().device_bytes - state.devices[device].live_bytes;
}

std::byte* AllocateDeviceMemory(int device, int64_t bytes) {
  State& state = TheState();
  const DeviceMemoryAccess access;
  std::lock_guard lock(state.mutex);
  State::Device& taken_from = state.devices[device];
  const int64_t room = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  if (taken_from.live_bytes + bytes > CurrentSettings().device_bytes ||
      taken_from.top + room + 2 * kPageBytes > kDeviceAddresses)
    return nullptr;
  std::byte* gap = device_memory + device * kDeviceAddresses + taken_from.top;
  // The end of the last page is the gap behind, and one page more.
  std::byte* data = gap + kPageBytes;
  const int64_t taken = kPageBytes + room + kPageBytes;
  OCTET_CHECK_EQ(mprotect(gap, static_cast<size_t>(taken), PROT_READ | PROT_WRITE), 0);
  taken_from.top += taken;
  taken_from.live_bytes += bytes;
  __asan_poison_memory_region(gap, static_cast<size_t>(taken));
  __asan_unpoison_memory_region(data, static_cast<size_t>(bytes));
  std::memset(data, 0xFF, static_cast<size_t>(bytes));
  static_assert(kPageBytes % kAlignment == 0);
  return data;
}

void FreeDeviceMemory(std::byte* data, int64_t bytes) {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  const int64_t room = (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  __asan_poison_memory_region(data, static_cast<size_t>(room));
  madvise(data, static_cast<size_t>(room), MADV_DONTNEED);
  ForgetWrites(data, room);
  state.devices[DeviceOf(data)].live_bytes -= bytes;
}

}  // namespace octet::emulator
