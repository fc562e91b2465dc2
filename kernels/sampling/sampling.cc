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

// Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC11).
std::array<uint32_t, 4> Philox(uint64_t seed, uint64_t position, uint32_t index,
                               uint32_t sample_index) {
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(position),
                               static_cast<uint32_t>(position >> 32), index, sample_index};
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t a = uint64_t{kPhiloxMultiplier0} * c[0];
    const uint64_t b = uint64_t{kPhiloxMultiplier1} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(a)};
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  return c;
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
