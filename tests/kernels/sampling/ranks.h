// Sampling as the ranks do it: each offers the candidates of its run of the vocabulary, then one
// chooses from all of them.
#pragma once

#include <vector>

#include "kernels/sampling/sampling.h"

namespace octet::kernels::test {

// The candidates of all ranks for one row, rank after rank. Bounds are [ranks + 1] token ids.
inline std::vector<Candidate> Offers(const SamplingParams& params, int64_t position,
                                     const std::vector<float>& logits,
                                     const std::vector<int64_t>& bounds, Stream& stream) {
  const auto count = static_cast<size_t>(CandidateCount(params));
  std::vector<Candidate> all(count * (bounds.size() - 1));
  const int64_t offset = 0;
  for (size_t rank = 0; rank + 1 < bounds.size(); ++rank) {
    LocalCandidatesArgs args;
    args.logits = logits.data() + bounds[rank];
    args.tokens = bounds[rank + 1] - bounds[rank];
    args.token_begin = bounds[rank];
    args.params = {&params, 1};
    args.positions = {&position, 1};
    args.out_offsets = {&offset, 1};
    args.out = all.data() + rank * count;
    LocalCandidates(args, stream);
  }
  return all;
}

inline int32_t ChooseAsRanks(const SamplingParams& params, int64_t position,
                             const std::vector<float>& logits, const std::vector<int64_t>& bounds,
                             Stream& stream) {
  std::vector<Candidate> scratch(logits.size() + bounds.size() * kCandidatesMax);
  if (RouteOf(params) == SamplingRoute::kLogits) {
    return ChooseFromLogits(params, position, logits, scratch);
  }
  return ChooseFromCandidates(params, position, Offers(params, position, logits, bounds, stream),
                              scratch);
}

}  // namespace octet::kernels::test
