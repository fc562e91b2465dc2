// Where an op runs. A Stream is an in-order queue of work on one device; on the CPU work is done
// before the call returns, by the stream's thread pool. On CUDA it is a view of a stream that a Gpu
// owns (device.h); the handle stays opaque here. Copies name the same queue.
#pragma once

#include "base/check.h"
#include "base/thread_pool.h"

// Declares a cuda::Op so that an executable that does not link it links all the same: its address
// is null then. The definition in the .cu file is an ordinary one.
#define OCTET_CUDA_OP __attribute__((weak))

namespace octet {

enum class Device { kCpu, kCuda };
struct DeviceInfo;  // base/device/device.h

class Stream {
 public:
  explicit Stream(ThreadPool* pool) : device_(Device::kCpu), pool_(pool) {}
  Stream(const DeviceInfo* info, void* handle)
      : device_(Device::kCuda), info_(info), handle_(handle) {}

  Device device() const { return device_; }
  ThreadPool& pool() const {  // REQUIRES: device() == Device::kCpu
    OCTET_CHECK(device_ == Device::kCpu);
    return *pool_;
  }
  const DeviceInfo& info() const {  // REQUIRES: device() == Device::kCuda
    OCTET_CHECK(device_ == Device::kCuda);
    return *info_;
  }
  void* handle() const {  // a cudaStream_t. REQUIRES: device() == Device::kCuda
    OCTET_CHECK(device_ == Device::kCuda);
    return handle_;
  }

 private:
  Device device_;
  ThreadPool* pool_ = nullptr;
  const DeviceInfo* info_ = nullptr;
  void* handle_ = nullptr;
};

}  // namespace octet
