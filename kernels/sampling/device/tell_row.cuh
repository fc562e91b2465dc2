// A row's log-probabilities by a block: LogSumExp, Logprob and MergeBest of logprobs.h.
#pragma once

#include <cstdint>

#include "base/device/primitives.cuh"
#include "kernels/sampling/device/choose_token.cuh"

namespace octet::kernels::cuda {

inline constexpr int kBestMax = kCutRanksMax * kLogprobsMax;

struct TellShared {
  uint32_t warps[kChooseThreads / 32];
  double terms[kChooseThreads];  // of consecutive tiles
  double log_sum_exp;
  float raw_logit;
  uint64_t best[kBestMax];  // of all ranks
};

// The sum over all tiles, in order: its terms are made by all threads, added by one.
OCTET_DEVICE double LogSumExpOf(TellShared& shared, const GatheredRow& gathered) {
  uint32_t ordered = OrderedBits(kNoLogit);
  for (int32_t rank = 0; rank < gathered.cut().ranks; ++rank) {
    const TileSum* tiles = gathered.Tiles(rank);
    for (int64_t i = threadIdx.x; i < gathered.TilesOf(rank); i += kChooseThreads) {
      const uint32_t max = OrderedBits(tiles[i].max);
      ordered = max > ordered ? max : ordered;
    }
  }
  const float max = FloatOfOrdered(BlockMax<kChooseThreads>(ordered, shared.warps));
  if (max == kNoLogit || max == __builtin_inff()) return max;

  double total = 0;  // of thread 0
  for (int32_t rank = 0; rank < gathered.cut().ranks; ++rank) {
    const TileSum* tiles = gathered.Tiles(rank);
    const int64_t tile_count = gathered.TilesOf(rank);
    for (int64_t first = 0; first < tile_count; first += kChooseThreads) {
      const int64_t i = first + threadIdx.x;
      if (i < tile_count) {
        shared.terms[threadIdx.x] =
            double{tiles[i].sum} * ExactExp(double{tiles[i].max} - double{max});
      }
      __syncthreads();
      const int64_t left = tile_count - first;
      if (threadIdx.x == 0) {
        for (int64_t t = 0; t < (left < kChooseThreads ? left : kChooseThreads); ++t) {
          total += shared.terms[t];
        }
      }
      __syncthreads();
    }
  }
  if (threadIdx.x == 0) shared.log_sum_exp = double{max} + ExactLog(total);
  __syncthreads();
  return shared.log_sum_exp;
}

// The raw logit of the token that is told: NaN for -1. Written to shared; a barrier must follow.
OCTET_DEVICE void FindRawLogit(TellShared& shared, const GatheredRow& gathered, int32_t token) {
  const RowShare& share = gathered.row().share;
  if (token < 0) {
    if (threadIdx.x == 0) shared.raw_logit = __uint_as_float(0x7fc00000u);
    return;
  }
  const int32_t rank = gathered.RankOf(token);
  if (gathered.row().next_token >= 0 || share.logits) {
    if (threadIdx.x != 0) return;
    shared.raw_logit = share.logits ? gathered.Logits(rank)[token - gathered.cut().bounds[rank]]
                                    : gathered.RawLogits(rank)[0];
    return;
  }
  const Candidate* candidates = gathered.Candidates(rank);
  const auto thread = static_cast<int32_t>(threadIdx.x);
  if (thread < share.candidates && candidates[thread].token == token) {
    shared.raw_logit = gathered.RawLogits(rank)[thread];
  }
}

// The best of all ranks' best: an element's rank is how many are better.
OCTET_DEVICE void TellBest(TellShared& shared, const GatheredRow& gathered, double log_sum_exp,
                           RowLogprobs* told) {
  const int32_t wanted = gathered.row().share.best;
  const int32_t offered = wanted * gathered.cut().ranks;
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < offered; i += kChooseThreads) {
    const Candidate candidate = gathered.Best(i / wanted)[i % wanted];
    shared.best[i] = candidate.token < 0 ? 0 : CandidateKey(candidate.logit, candidate.token);
  }
  __syncthreads();
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < offered; i += kChooseThreads) {
    const uint64_t key = shared.best[i];
    if (key == 0) continue;
    int32_t better = 0;
    for (int32_t j = 0; j < offered; ++j) better += shared.best[j] > key ? 1 : 0;
    if (better >= wanted) continue;
    told->top_tokens[better] = TokenOf(key);
    told->top_logprobs[better] = Logprob(ScoreOf(key), log_sum_exp);
  }
}

OCTET_DEVICE int32_t TopCount(const TellShared& shared, const GatheredRow& gathered) {
  int32_t real = 0;
  const int32_t wanted = gathered.row().share.best;
  for (int32_t i = 0; i < wanted * gathered.cut().ranks; ++i) real += shared.best[i] != 0 ? 1 : 0;
  return real < wanted ? real : wanted;
}

OCTET_DEVICE void TellRow(TellShared& shared, const GatheredRow& gathered, int32_t token,
                          RowLogprobs* told) {
  if (threadIdx.x == 0) *told = RowLogprobs{};
  FindRawLogit(shared, gathered, token);
  __syncthreads();
  const double log_sum_exp = LogSumExpOf(shared, gathered);
  TellBest(shared, gathered, log_sum_exp, told);
  if (threadIdx.x == 0) {
    told->logprob = Logprob(shared.raw_logit, log_sum_exp);
    told->top_count = TopCount(shared, gathered);
  }
}

}  // namespace octet::kernels::cuda
