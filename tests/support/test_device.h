// A device for a test, and vectors to and from it. The same source runs on the emulator and on a
// GPU; where no device opens, a test that starts with OCTET_REQUIRE_GPU is skipped and prints the
// reason.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "base/device/device.h"

namespace octet::test {

// The device of the test binary, opened once; null when there is none, and then `why` says why.
inline Gpu* TestGpu(std::string* why = nullptr) {
  static Result<std::unique_ptr<Gpu>>* opened =
      new Result<std::unique_ptr<Gpu>>(Gpu::Open(GpuOptions{}));
  if (!opened->ok()) {
    if (why != nullptr) *why = opened->status().message();
    return nullptr;
  }
  (**opened)->MakeCurrent();
  return (**opened).get();
}

template <typename T>
DeviceBuffer ToDevice(const std::vector<T>& values, Stream& stream) {
  Result<DeviceBuffer> buffer =
      DeviceBuffer::Allocate(static_cast<int64_t>(values.size() * sizeof(T)));
  if (!buffer.ok()) CheckFailed(__FILE__, __LINE__, buffer.status().message());
  CopyToDevice(buffer->data(), values.data(), buffer->bytes(), stream);
  Synchronize(stream);  // `values` may go
  return std::move(buffer).value();
}

template <typename T>
std::vector<T> ToHost(const DeviceBuffer& buffer, Stream& stream) {
  std::vector<T> values(static_cast<size_t>(buffer.bytes()) / sizeof(T));
  CopyToHost(values.data(), buffer.data(), static_cast<int64_t>(values.size() * sizeof(T)), stream);
  Synchronize(stream);
  return values;
}

}  // namespace octet::test

#define OCTET_REQUIRE_GPU()                                \
  do {                                                     \
    std::string octet_why_;                                \
    if (octet::test::TestGpu(&octet_why_) == nullptr)      \
      GTEST_SKIP() << "no GPU to test on: " << octet_why_; \
  } while (false)
