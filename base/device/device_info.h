// What is known of a GPU, and the sentences by which one is refused. Pure: no driver is asked here.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace octet {

struct DeviceInfo {
  int index = 0;
  std::string name;
  int major = 0;  // compute capability
  int minor = 0;
  int sm_count = 0;
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;  // when it was opened
  int64_t l2_bytes = 0;
  int64_t shared_bytes_per_block = 0;  // dynamic shared memory that a launch may ask for
  int driver_version = 0;              // 1000 * major + 10 * minor, of CUDA
  int runtime_version = 0;
  std::string uuid;  // 32 hexadecimal digits; tells devices of one machine apart

  int capability() const { return 10 * major + minor; }
  // Whether kernels in *_sm90.cu run here: they use instructions of this capability alone.
  bool has_wgmma() const { return major == 9 && minor == 0; }
};

inline constexpr int kCapabilityMin = 80;

// What the driver said, in its terms, before a device could be used.
struct DriverReport {
  bool driver_found = true;
  int driver_version = 0;   // of CUDA, as in DeviceInfo; 0: none
  int runtime_version = 0;  // what Octet was built with
  int device_count = 0;
};

// One sentence each; Ok when nothing stands against it.
Status CheckDriver(const DriverReport& report);
Status CheckDeviceIndex(const DriverReport& report, int index);
Status CheckCapability(const DeviceInfo& info);
Status CheckMemory(const DeviceInfo& info, int64_t needed_bytes);
Status DeviceBusy(int index, const std::string& reason);
Status OutOfDeviceMemory(const DeviceInfo& info, int64_t bytes);  // info.free_bytes: now
std::string Describe(const DeviceInfo& info);  // "NVIDIA H100 (compute capability 9.0, ...)"

}  // namespace octet
