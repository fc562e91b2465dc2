// The emulated device's memory: a range of addresses of its own, so that a kernel that touches host
// memory, and a host that touches device memory, are found. Each allocation lies between poisoned
// gaps; addresses are not given out again, so that freed memory stays poisoned.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet::emulator {

inline constexpr int64_t kDeviceMemoryBytes = int64_t{64} << 30;  // addresses, not memory
extern std::byte* const device_memory;

inline bool IsDeviceMemory(const void* address) {
  return static_cast<const std::byte*>(address) - device_memory >= 0 &&
         static_cast<const std::byte*>(address) - device_memory < kDeviceMemoryBytes;
}

std::byte* AllocateDeviceMemory(int64_t bytes);  // null when there is not that much left
void FreeDeviceMemory(std::byte* data, int64_t bytes);
int64_t FreeDeviceBytes();
// Of one more thread that works with device memory: a kernel, a copy. While there is none, a host
// that touches device memory faults.
class DeviceMemoryAccess {
 public:
  DeviceMemoryAccess();
  ~DeviceMemoryAccess();
  DeviceMemoryAccess(const DeviceMemoryAccess&) = delete;
};

}  // namespace octet::emulator
