#include "base/device/device_info.h"

#include <cstdio>

namespace octet {
namespace {

// 13000 -> "13.0"
std::string CudaVersion(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string Gigabytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f GiB", static_cast<double>(bytes) / (1 << 30));
  return text;
}

std::string Capability(const DeviceInfo& info) {
  return std::to_string(info.major) + "." + std::to_string(info.minor);
}

std::string Named(const DeviceInfo& info) {
  return "CUDA device " + std::to_string(info.index) + " (" + info.name + ")";
}

}  // namespace

Status CheckDriver(const DriverReport& report) {
  if (!report.driver_found || report.driver_version == 0)
    return FailedPrecondition(
        "no NVIDIA driver was found on this machine; --device cpu runs without a GPU");
  // A driver serves programs of its own major version, whatever their minor one.
  if (report.driver_version / 1000 < report.runtime_version / 1000)
    return FailedPrecondition("the NVIDIA driver knows CUDA " + CudaVersion(report.driver_version) +
                              " and is too old: this build needs a driver for CUDA " +
                              CudaVersion(report.runtime_version / 1000 * 1000) + " or later");
  return {};
}

Status CheckDeviceIndex(const DriverReport& report, int index) {
  if (report.device_count == 0)
    return FailedPrecondition(
        "the NVIDIA driver sees no GPU; CUDA_VISIBLE_DEVICES may hide them, --device cpu runs "
        "without one");
  if (index < 0 || index >= report.device_count)
    return InvalidArgument("there is no CUDA device " + std::to_string(index) +
                           ": this machine shows " + std::to_string(report.device_count) +
                           ", counted from 0");
  return {};
}

Status CheckCapability(const DeviceInfo& info) {
  if (info.capability() >= kCapabilityMin) return {};
  return FailedPrecondition(Named(info) + " has compute capability " + Capability(info) +
                            "; 8.0 or later is needed");
}

Status CheckMemory(const DeviceInfo& info, int64_t needed_bytes) {
  if (info.free_bytes >= needed_bytes) return {};
  return ResourceExhausted(Named(info) + " has " + Gigabytes(info.free_bytes) + " of " +
                           Gigabytes(info.total_bytes) + " free; " + Gigabytes(needed_bytes) +
                           " are needed");
}

Status DeviceBusy(int index, const std::string& reason) {
  return Unavailable("CUDA device " + std::to_string(index) +
                     " can not be used now, another process may hold it: " + reason);
}

Status OutOfDeviceMemory(const DeviceInfo& info, int64_t bytes) {
  return ResourceExhausted("out of memory on " + Named(info) + ": " + std::to_string(bytes) +
                           " bytes were asked for, " + std::to_string(info.free_bytes) +
                           " are free");
}

std::string Describe(const DeviceInfo& info) {
  return info.name + " (compute capability " + Capability(info) + ", " +
         std::to_string(info.sm_count) + " SMs, " + Gigabytes(info.total_bytes) +
         ", driver for CUDA " + CudaVersion(info.driver_version) + ")";
}

}  // namespace octet
