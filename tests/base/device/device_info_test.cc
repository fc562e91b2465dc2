// The sentences by which a device is refused, for devices and drivers that are made up, and what
// this machine says when it has none.
#include "base/device/device_info.h"

#include <gtest/gtest.h>

#include "base/device/device.h"

namespace octet {
namespace {

DriverReport Report(int driver, int runtime, int devices) {
  DriverReport report;
  report.driver_version = driver;
  report.runtime_version = runtime;
  report.device_count = devices;
  return report;
}

DeviceInfo Info(int major, int minor) {
  DeviceInfo info;
  info.index = 2;
  info.name = "NVIDIA H100";
  info.major = major;
  info.minor = minor;
  info.sm_count = 132;
  info.total_bytes = int64_t{80} << 30;
  info.free_bytes = int64_t{5} << 29;
  info.driver_version = 13000;
  return info;
}

TEST(DeviceInfoTest, DriverIsThereAndNewEnough) {
  EXPECT_TRUE(CheckDriver(Report(13000, 13000, 1)).ok());
  EXPECT_TRUE(CheckDriver(Report(13000, 13020, 1)).ok());  // a minor version behind serves
  EXPECT_TRUE(CheckDriver(Report(14010, 13000, 1)).ok());
  EXPECT_EQ(CheckDriver(Report(0, 13000, 0)).message(),
            "no NVIDIA driver was found on this machine; --device cpu runs without a GPU");
  DriverReport none = Report(13000, 13000, 0);
  none.driver_found = false;
  EXPECT_FALSE(CheckDriver(none).ok());
  const Status old = CheckDriver(Report(12080, 13020, 1));
  EXPECT_EQ(old.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(old.message(),
            "the NVIDIA driver knows CUDA 12.8 and is too old: this build needs a driver for CUDA "
            "13.0 or later");
}

TEST(DeviceInfoTest, IndexIsOneOfThoseThatAreThere) {
  EXPECT_TRUE(CheckDeviceIndex(Report(13000, 13000, 4), 3).ok());
  EXPECT_EQ(CheckDeviceIndex(Report(13000, 13000, 4), 4).message(),
            "there is no CUDA device 4: this machine shows 4, counted from 0");
  EXPECT_FALSE(CheckDeviceIndex(Report(13000, 13000, 4), -1).ok());
  EXPECT_EQ(CheckDeviceIndex(Report(13000, 13000, 0), 0).message(),
            "the NVIDIA driver sees no GPU; CUDA_VISIBLE_DEVICES may hide them, --device cpu runs "
            "without one");
}

TEST(DeviceInfoTest, CapabilityAndMemorySuffice) {
  EXPECT_TRUE(CheckCapability(Info(8, 0)).ok());
  EXPECT_TRUE(CheckCapability(Info(12, 0)).ok());
  EXPECT_EQ(CheckCapability(Info(7, 5)).message(),
            "CUDA device 2 (NVIDIA H100) has compute capability 7.5; 8.0 or later is needed");
  EXPECT_TRUE(CheckMemory(Info(9, 0), int64_t{5} << 29).ok());
  const Status full = CheckMemory(Info(9, 0), int64_t{40} << 30);
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(full.message(),
            "CUDA device 2 (NVIDIA H100) has 2.5 GiB of 80.0 GiB free; 40.0 GiB are needed");
  EXPECT_EQ(
      OutOfDeviceMemory(Info(9, 0), 123).message(),
      "out of memory on CUDA device 2 (NVIDIA H100): 123 bytes were asked for, 2684354560 are "
      "free");
  EXPECT_EQ(DeviceBusy(1, "busy").message(),
            "CUDA device 1 can not be used now, another process may hold it: busy");
}

TEST(DeviceInfoTest, FormsOfKernels) {
  EXPECT_TRUE(Info(9, 0).has_wgmma());
  EXPECT_FALSE(Info(8, 9).has_wgmma());
  EXPECT_FALSE(Info(10, 0).has_wgmma());
  EXPECT_EQ(Info(8, 9).capability(), 89);
  EXPECT_EQ(Describe(Info(9, 0)),
            "NVIDIA H100 (compute capability 9.0, 132 SMs, 80.0 GiB, driver for CUDA 13.0)");
}

// Whatever is linked: a device opens, or one sentence says why not.
TEST(DeviceInfoTest, ThisMachineHasADeviceOrASentence) {
  const Result<std::unique_ptr<Gpu>> gpu = Gpu::Open({});
  const Result<int> count = Gpu::Count();
  if (gpu.ok()) {
    EXPECT_GE(*count, 1);
    return;
  }
  const std::string& message = gpu.status().message();
  EXPECT_FALSE(message.empty());
  EXPECT_EQ(message.find('\n'), std::string::npos);
  const bool is_one_of_ours = message.find("nvcc was not found") != std::string::npos ||
                              message.find("no NVIDIA driver was found") != std::string::npos ||
                              message.find("NVIDIA driver") != std::string::npos ||
                              message.find("CUDA device") != std::string::npos;
  EXPECT_TRUE(is_one_of_ours) << message;
  std::printf("no GPU here: %s\n", message.c_str());
}

}  // namespace
}  // namespace octet
