#include "kernels/sampling/sampling.h"

#include "kernels/dispatch.h"
#include "kernels/sampling/sampling_row.h"

namespace octet::kernels {

SamplingRoute RouteOf(const SamplingParams& params) {
  if (IsGreedy(params)) return SamplingRoute::kCandidates;
  if (params.top_k > 0) {
    return params.top_k <= kCandidatesMax ? SamplingRoute::kCandidates : SamplingRoute::kLogits;
  }
  return IsPureTemperature(params) ? SamplingRoute::kCandidates : SamplingRoute::kLogits;
}

int32_t CandidateCount(const SamplingParams& params) {
  if (RouteOf(params) == SamplingRoute::kLogits) return 0;
  return ChoosesBestScore(params) ? 1 : params.top_k;
}

void LocalCandidates(const LocalCandidatesArgs& args, Stream& stream) {
  const size_t rows = args.params.size();
  OCTET_CHECK_EQ(args.positions.size(), rows);
  OCTET_CHECK_EQ(args.out_offsets.size(), rows);
  OCTET_CHECK_GE(args.tokens, 0);
  OCTET_CHECK_LE(args.tokens, kSampledVocabMax);
  OCTET_CHECK_GE(args.token_begin, 0);
  if (rows == 0) return;
  OCTET_CHECK(args.logits != nullptr || args.tokens == 0);
  OCTET_CHECK(args.out != nullptr);
  Dispatch(cpu::LocalCandidates, cuda::LocalCandidates, args, stream);
}

}  // namespace octet::kernels
