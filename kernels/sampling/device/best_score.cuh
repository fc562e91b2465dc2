// The Gumbel maximum of a row, in two steps. A block looks at a run and leaves a bound of its
// scores and a score that one of them reaches, for which few instructions a token are enough. Then
// the block of the row looks again at the runs whose bound reaches what is known of the row, seldom
// more than one or two, and only the few tokens of theirs that do pay for the exact noise, which
// takes doubles and long chains of them.
#pragma once

#include <cstdint>

#include "base/device/primitives.cuh"
#include "kernels/sampling/device/candidate_key.cuh"
#include "kernels/sampling/device/gumbel_bound.cuh"
#include "kernels/sampling/device/run_logits.cuh"

namespace octet::kernels::cuda {

// Of a thread's tokens: bounds of their scores.
struct ScoreBounds {
  float of[kQuads][4];
  float most = kNoLogit;
  uint32_t word_of_most = 0xffffffffu;
};
OCTET_DEVICE ScoreBounds BoundScores(const RunLogits& run, const SamplingParams& params,
                                     int64_t position, int32_t first_token) {
  const float per_temperature = 1.0f / params.temperature;
  ScoreBounds bounds;
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
    const auto words =
        Philox(params.seed, static_cast<uint64_t>(position),
               static_cast<uint32_t>(first_token + PlaceInRun(quad)) / 4, params.sample_index);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float bound = fmaf(run.of[quad][i], per_temperature, GumbelNoiseBound(words[i]));
      bounds.of[quad][i] = bound;
      if (!(bound > bounds.most)) continue;
      bounds.most = bound;
      bounds.word_of_most = words[i];
    }
  }
  return bounds;
}

// What a run leaves, as OrderedBits: the greatest bound, and a score that is reached but for
// roundings (MustReach). Both are 0 where no token can be chosen.
struct RunBound {
  uint32_t reached;
  uint32_t most;
};
static_assert(sizeof(RunBound) == sizeof(uint64_t));  // where a key would be

struct BoundShared {
  uint32_t most[kRunThreads / 32];
  uint32_t words[kRunThreads / 32];
};

OCTET_DEVICE bool HasToken(const RunLogits& run) {
  bool has = false;
#pragma unroll
  for (int n = 0; n < 4 * kQuads; ++n) has = has || run.of[n / 4][n % 4] > kNoLogit;
  return has;
}

// By the token of the greatest bound in each warp.
OCTET_DEVICE void StoreBoundOfRun(BoundShared& shared, const ScoreBounds& bounds,
                                  const RunLogits& run, RunBound* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  // A bound may be -inf though the logit is not.
  const bool has_token = bounds.most > kNoLogit || HasToken(run);
  const uint32_t own = has_token ? OrderedBits(bounds.most) : 0;
  const uint32_t of_warp = __reduce_max_sync(0xffffffffu, own);
  if (lane == __ffs(static_cast<int>(__ballot_sync(0xffffffffu, own == of_warp))) - 1) {
    shared.most[warp] = of_warp;
    shared.words[warp] = bounds.word_of_most;
  }
  __syncthreads();
  if (warp != 0) return;
  uint32_t most = 0;
  uint32_t reached = 0;
  if (lane < kRunThreads / 32) most = shared.most[lane];
  if (most != 0) {
    reached = OrderedBits(ScoreReached(FloatOfOrdered(most), shared.words[lane]));
  }
  most = __reduce_max_sync(0xffffffffu, most);
  reached = __reduce_max_sync(0xffffffffu, reached);
  if (lane == 0) *out = {reached, most};
}

OCTET_DEVICE uint32_t WordOf(const SamplingParams& params, int64_t position, int32_t token) {
  const auto words = Philox(params.seed, static_cast<uint64_t>(position),
                            static_cast<uint32_t>(token) / 4, params.sample_index);
  const int32_t i = token % 4;
  return i == 0 ? words[0] : i == 1 ? words[1] : i == 2 ? words[2] : words[3];
}

// The best exact score among the thread's tokens of a run whose bound reaches, or 0.
OCTET_DEVICE uint64_t BestScoreOfThread(const RunLogits& run, const SamplingParams& params,
                                        int64_t position, int32_t first_token, float must_reach) {
  const ScoreBounds bounds = BoundScores(run, params, position, first_token);
  uint32_t asked = 0;  // a bit for each token
#pragma unroll
  for (int n = 0; n < 4 * kQuads; ++n) {
    const bool may_win = run.of[n / 4][n % 4] > kNoLogit && bounds.of[n / 4][n % 4] >= must_reach;
    asked |= may_win ? 1u << n : 0u;
  }
  uint64_t best = 0;
  for (; asked != 0; asked &= asked - 1) {
    const int n = __ffs(static_cast<int>(asked)) - 1;
    float logit = 0;
#pragma unroll
    for (int other = 0; other < 4 * kQuads; ++other) {  // registers have no index
      logit = other == n ? run.of[other / 4][other % 4] : logit;
    }
    const int32_t token = first_token + PlaceInRun(n / 4) + n % 4;
    const float score = logit / params.temperature + GumbelNoise(WordOf(params, position, token));
    const uint64_t key = CandidateKey(score, token);
    best = key > best ? key : best;
  }
  return best;
}

inline constexpr int64_t kRunsOfRowMax = kSampledVocabMax / kRunTokens;

struct BestScoreShared {
  uint32_t warps[kRunThreads / 32];
  uint64_t keys[kRunThreads / 32];
  uint32_t count;
  int32_t runs[kRunsOfRowMax];
};

struct RowOfLogits {
  const float* logits;  // [held] raw, aligned as LoadRun asks
  int64_t held;
  int32_t first_token;
};

// The best exact score of a row by what its runs left. A block of kRunThreads calls.
OCTET_DEVICE uint64_t BestScoreOfRow(BestScoreShared& shared, const RunBound* bounds, int64_t runs,
                                     const RowOfLogits& row, const RowAdjuster& adjust,
                                     const SamplingParams& params, int64_t position) {
  uint32_t reached = 0;
  for (int64_t run = threadIdx.x; run < runs; run += kRunThreads) {
    reached = bounds[run].reached > reached ? bounds[run].reached : reached;
  }
  if (threadIdx.x == 0) shared.count = 0;
  reached = BlockMax<kRunThreads>(reached, shared.warps);
  if (reached == 0) return 0;
  const float must_reach = MustReach(FloatOfOrdered(reached));
  for (int64_t run = threadIdx.x; run < runs; run += kRunThreads) {
    const uint32_t most = bounds[run].most;
    if (most == 0 || !(FloatOfOrdered(most) >= must_reach)) continue;
    shared.runs[atomicAdd(&shared.count, 1u)] = static_cast<int32_t>(run);
  }
  __syncthreads();
  uint64_t best = 0;
  const uint32_t count = shared.count;
  for (uint32_t n = 0; n < count; ++n) {
    const int64_t begin = shared.runs[n] * kRunTokens;
    const RunPlace at{begin, row.held, row.first_token + static_cast<int32_t>(begin)};
    RunLogits run = LoadRun(row.logits, at);
    AdjustRun(adjust, at, &run);
    const uint64_t key = BestScoreOfThread(run, params, position, at.first_token, must_reach);
    best = key > best ? key : best;
  }
  return BlockMax<kRunThreads>(best, shared.keys);
}

}  // namespace octet::kernels::cuda
