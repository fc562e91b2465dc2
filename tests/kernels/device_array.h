// Arrays on the device that a test runs on, the emulator's or a GPU, and tests that need one.
#pragma once

#include <vector>

#include "tests/support/test_device.h"

namespace octet::kernels::test {

inline Stream& DeviceStream() { return octet::test::TestGpu()->stream(); }

class DeviceTest : public testing::Test {
 protected:
  void SetUp() override { OCTET_REQUIRE_GPU(); }
};

template <typename T>
class DeviceArray {
 public:
  // Bytes of 0xFF: NaN in every float format.
  explicit DeviceArray(int64_t count) : DeviceArray(std::vector<T>(static_cast<size_t>(count))) {
    FillBytes(buffer_.data(), 0xFF, buffer_.bytes(), DeviceStream());
  }
  explicit DeviceArray(const std::vector<T>& values)
      : buffer_(octet::test::ToDevice(values, DeviceStream())) {}

  T* data() const { return buffer_.as<T>(); }
  std::vector<T> Read() const { return octet::test::ToHost<T>(buffer_, DeviceStream()); }

 private:
  DeviceBuffer buffer_;
};

}  // namespace octet::kernels::test
