// The choice of one row's token by a block: choose.cc of the CPU with selections by digits instead
// of by partial sorting. Both are exact, so they agree.
#pragma once

#include <cstdint>

#include "base/device/primitives.cuh"
#include "kernels/sampling/device/gathered_row.cuh"
#include "kernels/sampling/device/ordered_select.cuh"

namespace octet::kernels::cuda {

inline constexpr int kChooseThreads = 512;

struct ChooseShared {
  SelectShared select;
  uint64_t warps[kChooseThreads / 32];
};

// What an element weighs: its mass relative to the best logit, where it is not filtered.
struct ElementMass {
  float max;
  float temperature;
  uint64_t cut;  // the key of the last element that top-k and top-p leave; 0: all
  float min_p;

  OCTET_DEVICE uint64_t operator()(float logit, int32_t token) const {
    if (CandidateKey(logit, token) < cut) return 0;
    const float weight = ExactExp((logit - max) / temperature);
    return weight >= min_p ? Mass(weight) : 0;
  }
};

// Top-k, top-p, min-p, then the inverse of the distribution at one uniform. `best` is the key of
// the best element, which is finite.
template <typename Source>
OCTET_DEVICE int32_t DrawToken(ChooseShared& shared, const Source& source,
                               const SamplingParams& params, int64_t position, uint64_t best) {
  const float max = ScoreOf(best);
  const PlaceCoder coder(max, params.temperature);
  uint64_t cut = 0;
  if (params.top_k > 0) {
    cut = SelectByMass<kChooseThreads>(
        shared.select, source, coder, [](float, int32_t) { return uint64_t{1}; },
        [&](uint64_t) { return static_cast<uint64_t>(params.top_k) - 1; });
  }
  if (params.top_p < 1.0f) {
    const ElementMass mass{max, params.temperature, cut, 0.0f};
    cut = SelectByMass<kChooseThreads>(shared.select, source, coder, mass, [&](uint64_t total) {
      return WantedMass(params.top_p, total) - 1;
    });
  }
  const ElementMass mass{max, params.temperature, cut, params.min_p};
  return TokenOf(SelectByMass<kChooseThreads>(
      shared.select, source, coder, mass,
      [&](uint64_t total) { return DrawnMass(params, position, total); }));
}

template <typename Source>
OCTET_DEVICE int32_t ChooseFrom(ChooseShared& shared, const Source& source,
                                const SamplingParams& params, int64_t position) {
  uint64_t best = 0;
  source.Each([&](float logit, int32_t token) {
    const uint64_t key = CandidateKey(logit, token);
    best = key > best ? key : best;
  });
  best = BlockMax<kChooseThreads>(best, shared.warps);
  if (best == 0 || ScoreOf(best) == __builtin_inff()) return TokenOf(best);
  return DrawToken(shared, source, params, position, best);
}

// The best score of all ranks, one each.
OCTET_DEVICE int32_t ChooseBestScore(ChooseShared& shared, const GatheredRow& gathered) {
  uint64_t best = 0;
  if (static_cast<int32_t>(threadIdx.x) < gathered.cut().ranks) {
    const Candidate candidate = *gathered.Candidates(static_cast<int32_t>(threadIdx.x));
    if (candidate.token >= 0) best = CandidateKey(candidate.score, candidate.token);
  }
  return TokenOf(BlockMax<kChooseThreads>(best, shared.warps));
}

}  // namespace octet::kernels::cuda
