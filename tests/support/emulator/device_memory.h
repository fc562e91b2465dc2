// The emulated devices' memory: a range of addresses of its own for each, so that a kernel that
// touches host memory or another device's, and a host that touches device memory, are found. Each
// allocation lies between poisoned gaps; addresses are not given out again, so that freed memory
// stays poisoned.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet::emulator {

inline constexpr int kDevices = 8;
inline constexpr int64_t kDeviceAddresses = int64_t{64} << 30;  // of one device; not memory
extern std::byte* const device_memory;                          // of device 0; the others follow

// The device that has the address, or -1.
inline int DeviceOf(const void* address) {
  const int64_t offset = static_cast<const std::byte*>(address) - device_memory;
  if (offset < 0 || offset >= kDevices * kDeviceAddresses) return -1;
  return static_cast<int>(offset / kDeviceAddresses);
}

std::byte* AllocateDeviceMemory(int device,
                                int64_t bytes);  // null when there is not that much left
void FreeDeviceMemory(std::byte* data, int64_t bytes);
int64_t FreeDeviceBytes(int device);
// Of one more thread that works with device memory: a kernel, a copy. While there is none, a host
// that touches device memory faults.
class DeviceMemoryAccess {
 public:
  DeviceMemoryAccess();
  ~DeviceMemoryAccess();
  DeviceMemoryAccess(const DeviceMemoryAccess&) = delete;
};

}  // namespace octet::emulator
