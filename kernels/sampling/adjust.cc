#include "kernels/sampling/adjust.h"

#include "kernels/dispatch.h"

namespace octet::kernels {

int64_t SavedLogitCount(const Adjustment& adjustment) {
  size_t count = adjustment.banned.size() + adjustment.bias.size();
  if (adjustment.reads_prompt()) count += adjustment.prompt.size();
  if (adjustment.penalizes()) count += adjustment.answer.size();
  return static_cast<int64_t>(count);
}

void AdjustRows(const AdjustRowsArgs& args, Stream& stream) {
  OCTET_CHECK_EQ(args.saved.size(), args.adjustments.size());
  OCTET_CHECK_GE(args.tokens, 0);
  OCTET_CHECK_GE(args.token_begin, 0);
  if (args.adjustments.empty()) return;
  OCTET_CHECK(args.logits != nullptr || args.tokens == 0);
  OCTET_CHECK(args.counts != nullptr);
  OCTET_CHECK_GT(args.count_arrays, 0);
  for (const Adjustment& adjustment : args.adjustments) {
    OCTET_CHECK_GT(adjustment.repetition_penalty, 0.0f);
  }
  Dispatch(cpu::AdjustRows, cuda::AdjustRows, args, stream);
}

}  // namespace octet::kernels
