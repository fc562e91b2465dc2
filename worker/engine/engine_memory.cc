#include "worker/engine/engine_memory.h"

namespace octet::worker {
namespace {

// Where each of the buffers begins when they follow one another.
template <typename Sizes>
Sizes Begins(const Sizes& sizes) {
  Sizes begins{};
  int64_t end = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    begins[i] = end;
    end += AlignUp(sizes[i]);
  }
  return begins;
}

}  // namespace

Result<EngineMemory> EngineMemory::Take(const MemoryPlan& plan, Stream& stream) {
  EngineMemory memory;
  const int64_t activation_bytes = plan.activation_bytes();
  const int64_t bytes = activation_bytes + plan.kv_bytes;
  if (stream.device() == Device::kCpu) {
    OCTET_ASSIGN_OR_RETURN(memory.host_, Buffer::Allocate(bytes));
    memory.activations_ = memory.host_.data();
  } else {
    OCTET_ASSIGN_OR_RETURN(memory.device_, DeviceBuffer::Allocate(bytes));
    OCTET_ASSIGN_OR_RETURN(memory.pinned_, HostBuffer::Allocate(plan.pinned_bytes()));
    memory.activations_ = memory.device_.data();
    FillBytes(memory.activations_ + activation_bytes, 0, plan.kv_bytes, stream);
  }
  memory.cache_ = memory.activations_ + activation_bytes;
  memory.bytes_ = plan.activations;
  memory.begin_ = Begins(plan.activations);
  memory.pinned_begin_ = Begins(plan.pinned);
  memory.image_bytes_ = plan.step_image_bytes();
  return memory;
}

std::byte* EngineMemory::HostImage(int turn) const {
  std::byte* const first = OnHost<std::byte>(ActivationBuffer::kStepImage);
  return pinned_.bytes() == 0 ? first : first + turn * image_bytes_;
}

}  // namespace octet::worker
