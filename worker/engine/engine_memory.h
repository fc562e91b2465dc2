// The memory of a rank's engine, taken once by the plan: on the CPU from the host, beside a GPU
// from the device, with what the host lays out for it in pinned memory. Owns it all.
#pragma once

#include <array>
#include <cstddef>

#include "base/buffer.h"
#include "base/device/device.h"
#include "base/status.h"
#include "worker/engine/memory_plan.h"

namespace octet::worker {

class EngineMemory {
 public:
  // Takes exactly the plan's activations, cache and pinned bytes; all but the cache's and the
  // host's are undefined on a device, zero on the CPU. Fails when the device has not that much.
  static Result<EngineMemory> Take(const MemoryPlan& plan, Stream& stream);

  // Where the ops of a step find it.
  template <typename T>
  T* Of(ActivationBuffer buffer) const {
    return reinterpret_cast<T*>(activations_ + begin_[static_cast<size_t>(buffer)]);
  }
  // Where the host finds it: the same on the CPU.
  template <typename T>
  T* OnHost(ActivationBuffer buffer) const {
    if (pinned_.bytes() == 0) return Of<T>(buffer);
    return reinterpret_cast<T*>(pinned_.data() + pinned_begin_[static_cast<size_t>(buffer)]);
  }
  // Where step images are laid out, one for each step in flight beside a device; on the CPU a step
  // is done before the next is laid out, and there is one.
  std::byte* HostImage(int turn) const;
  std::byte* cache() const { return cache_; }
  int64_t bytes_of(ActivationBuffer buffer) const { return bytes_[static_cast<size_t>(buffer)]; }
  int64_t activation_bytes() const { return cache_ - activations_; }
  int64_t cache_bytes() const { return host_.bytes() + device_.bytes() - activation_bytes(); }

 private:
  using Sizes = std::array<int64_t, static_cast<size_t>(ActivationBuffer::kCount)>;

  Buffer host_;          // activations, then the cache
  DeviceBuffer device_;  // the same
  HostBuffer pinned_;
  std::byte* activations_ = nullptr;
  std::byte* cache_ = nullptr;
  Sizes bytes_{};
  Sizes begin_{};
  Sizes pinned_begin_{};
  int64_t image_bytes_ = 0;
};

}  // namespace octet::worker
