#include "base/device/primitives.cuh"
#include "kernels/sampling/device/take_tokens.h"

namespace octet::kernels::cuda {
namespace {

constexpr int kThreads = 128;

OCTET_DEVICE void Mark(const SlotState& state, int32_t slot, int32_t token, int64_t position) {
  const SlotRecord& record = state.records[slot];
  uint32_t* mark = state.marks + slot * state.shape.vocab + token;
  // Rows of one slot may bring the same token.
  if (position < record.prompt_tokens) {
    if (record.marks_prompt != 0) atomicOr(mark, kInPrompt);
  } else if (record.marks_answer != 0) {
    atomicAdd(mark, kOnceInAnswer);
  }
}

__global__ void __launch_bounds__(kThreads) TakeAll(TakeTokensArgs args) {
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= args.rows_max) return;
  const int32_t slot = args.slots[row];
  if (slot < 0) {
    args.tokens[row] = 0;
    return;
  }
  const int32_t given = args.given[row];
  const int32_t token = given >= 0 ? given : args.state.last_tokens[slot];
  Mark(args.state, slot, token, args.positions[row]);
  args.tokens[row] = token;
}

}  // namespace

void TakeTokens(const TakeTokensArgs& args, Stream& stream) {
  const auto blocks = static_cast<unsigned>((args.rows_max + kThreads - 1) / kThreads);
  OCTET_LAUNCH(TakeAll, dim3(blocks), dim3(kThreads), 0, stream, args);
}

}  // namespace octet::kernels::cuda
