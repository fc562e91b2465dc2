#include "base/device/primitives.cuh"
#include "kernels/sampling/device/slot_updates.h"

namespace octet::kernels::cuda {
namespace {

constexpr int kThreads = 512;

class Marks {
 public:
  OCTET_DEVICE Marks(const SlotState& state, int32_t slot)
      : marks_(state.marks + slot * state.shape.vocab), vocab_(state.shape.vocab) {}

  OCTET_DEVICE void Clear() const {
    for (int64_t token = threadIdx.x; token < vocab_; token += kThreads) marks_[token] = 0;
  }
  // Tokens beyond the vocabulary are passed over, as AdjustLogits does.
  OCTET_DEVICE void Set(int32_t token, uint32_t flag) const {
    if (token >= 0 && token < vocab_) atomicOr(&marks_[token], flag);
  }
  OCTET_DEVICE void Count(int32_t token) const {
    if (token >= 0 && token < vocab_) atomicAdd(&marks_[token], kOnceInAnswer);
  }

 private:
  uint32_t* marks_;
  int64_t vocab_;
};

OCTET_DEVICE void MarkCached(const SlotUpdate& update, const uint32_t* words, const Marks& marks) {
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < update.cached_count; i += kThreads) {
    const auto token = static_cast<int32_t>(words[update.cached_begin + i]);
    if (i < update.record.prompt_tokens) {
      if (update.record.marks_prompt != 0) marks.Set(token, kInPrompt);
    } else if (update.record.marks_answer != 0) {
      marks.Count(token);
    }
  }
}

// A block an admission.
__global__ void __launch_bounds__(kThreads) ApplyAll(ApplySlotUpdatesArgs args) {
  const auto* updates = reinterpret_cast<const SlotUpdate*>(args.updates);
  const auto* words = reinterpret_cast<const uint32_t*>(updates + args.updates_max);
  const SlotUpdate& update = updates[blockIdx.x];
  const auto* bias = reinterpret_cast<const TokenBias*>(words + update.bias_begin);
  const Marks marks(args.state, update.slot);
  if (threadIdx.x == 0) {
    args.state.records[update.slot] = update.record;
    args.state.last_tokens[update.slot] = 0;
  }
  TokenBias* const own_bias = args.state.bias + int64_t{update.slot} * kLogitBiasMax;
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < update.record.bias_count; i += kThreads) {
    own_bias[i] = bias[i];
  }
  if (update.record.has_marks == 0) return;
  marks.Clear();
  __syncthreads();
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < update.record.bias_count; i += kThreads) {
    marks.Set(bias[i].token, kHasBias);
  }
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < update.end_count; i += kThreads) {
    marks.Set(static_cast<int32_t>(words[update.end_begin + i]), kEndsAnswer);
  }
  MarkCached(update, words, marks);
}

}  // namespace

void ApplySlotUpdates(const ApplySlotUpdatesArgs& args, Stream& stream) {
  OCTET_LAUNCH(ApplyAll, dim3(static_cast<unsigned>(args.count)), dim3(kThreads), 0, stream, args);
}

}  // namespace octet::kernels::cuda
