// Values where a rank's stream can reach them: host memory for a CPU, device memory for a GPU.
#pragma once

#include <gtest/gtest.h>

#include <span>
#include <utility>
#include <vector>

#include "base/device/device.h"

namespace octet::comm {

template <typename T>
class RankArray {
 public:
  RankArray(std::vector<T> values, Stream& stream) : host_(std::move(values)) {
    on_device_ = stream.device() == Device::kCuda;
    if (!on_device_ || host_.empty()) return;
    Result<DeviceBuffer> made = DeviceBuffer::Allocate(bytes());
    if (!made.ok()) {
      ADD_FAILURE() << made.status().message();
      return;
    }
    device_ = std::move(made).value();
    CopyToDevice(device_.data(), host_.data(), bytes(), stream);
  }

  T* data() { return on_device_ ? device_.template as<T>() : host_.data(); }
  const T* data() const { return on_device_ ? device_.template as<T>() : host_.data(); }
  std::span<T> span() { return {data(), host_.size()}; }
  std::span<const T> span() const { return {data(), host_.size()}; }

  // The values now, once the stream's work is done.
  const std::vector<T>& Read(Stream& stream) {
    if (on_device_ && !host_.empty()) {
      CopyToHost(host_.data(), device_.data(), bytes(), stream);
      Synchronize(stream);
    }
    return host_;
  }

 private:
  int64_t bytes() const { return static_cast<int64_t>(host_.size() * sizeof(T)); }

  bool on_device_ = false;
  std::vector<T> host_;
  DeviceBuffer device_;
};

}  // namespace octet::comm
