// Where an op runs. A Stream is an in-order queue of work on one device; on the CPU work is done
// before the call returns, by the stream's thread pool. The CUDA handle stays opaque here.
#pragma once

#include "base/thread_pool.h"

namespace octet {

enum class Device { kCpu, kCuda };

class Stream {
 public:
  explicit Stream(ThreadPool* pool) : device_(Device::kCpu), pool_(pool) {}

  Device device() const { return device_; }
  ThreadPool& pool() const { return *pool_; }  // REQUIRES: device() == Device::kCpu

 private:
  Device device_;
  ThreadPool* pool_;
};

}  // namespace octet
