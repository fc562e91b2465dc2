// First kernel of OfferRows: a block looks at kRunTokens of a row once. It keeps them in registers,
// sends them where the row brings its logits, sums its tiles, and leaves for the second kernel the
// best score of the run or the maxima of its spans.
#pragma once

#include <cstdint>

#include "base/device/primitives.cuh"
#include "kernels/sampling/device/adjusted_logit.cuh"
#include "kernels/sampling/device/candidate_key.cuh"
#include "kernels/sampling/device/gumbel_bound.cuh"
#include "kernels/sampling/device/offer_rows.h"
#include "kernels/sampling/device/planted_bug.h"
#include "kernels/sampling/device/row_workspace.h"

namespace octet::kernels::cuda {

inline constexpr int kScanThreads = 256;
inline constexpr int kQuads = static_cast<int>(kRunTokens) / (4 * kScanThreads);
inline constexpr int kTilesOfRun = static_cast<int>(kRunTokens / kSamplingTile);
inline constexpr int kLanesOfTile = 16;  // as in kernels/lanes.h

struct ScanShared {
  float exps[kRunTokens];
  float warp_max[kQuads][kScanThreads / 32];
  float tile_max[kTilesOfRun];
  uint64_t keys[kScanThreads / 32];
  uint32_t scores[kScanThreads / 32];
};

// A thread's logits: of each of its quads four neighbours, -inf beyond the row. Thread t holds
// tokens quad * 1024 + 4 t of the run.
struct RunLogits {
  float of[kQuads][4];
};
OCTET_DEVICE int PlaceInRun(int quad) {
  return quad * 4 * kScanThreads + 4 * static_cast<int>(threadIdx.x);
}

// `row` is aligned to 16 where `held` is a multiple of 4.
OCTET_DEVICE RunLogits LoadRun(const float* row, int64_t begin, int64_t held) {
  RunLogits run;
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
    const int64_t place = begin + PlaceInRun(quad);
    if (held % 4 == 0 && place < held) {
      const float4 four = *reinterpret_cast<const float4*>(row + place);
      run.of[quad][0] = four.x;
      run.of[quad][1] = four.y;
      run.of[quad][2] = four.z;
      run.of[quad][3] = four.w;
      continue;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t end = held + (kPlantedBug == kReadPastEnd ? 1 : 0);
      run.of[quad][i] = place + i < end ? row[place + i] : kNoLogit;
    }
  }
  return run;
}

OCTET_DEVICE void SendRun(const RunLogits& run, int64_t begin, int64_t held, float* out) {
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
    const int64_t place = begin + PlaceInRun(quad);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (place + i < held) out[place + i] = run.of[quad][i];
    }
  }
}

OCTET_DEVICE float MaxPassingNan(float a, float b) { return a > b ? a : b; }
OCTET_DEVICE float QuadMax(const float (&quad)[4]) {
  float max = kNoLogit;
#pragma unroll
  for (int i = 0; i < 4; ++i) max = MaxPassingNan(quad[i], max);
  return max;
}

// Sixteen threads hold a span.
OCTET_DEVICE void SpanMaximaOfRun(const RunLogits& run, int64_t begin, int64_t held,
                                  float* maxima) {
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
    float max = QuadMax(run.of[quad]);
    for (int lanes = 8; lanes > 0; lanes /= 2) {
      max = MaxPassingNan(__shfl_xor_sync(0xffffffffu, max, lanes), max);
    }
    const int64_t place = begin + PlaceInRun(quad);
    if (threadIdx.x % 16 == 0 && place < held) maxima[place / kSpanOfMaximum] = max;
  }
}

OCTET_DEVICE float ExpOrZero(float x) { return x != x ? 0.0f : ExactExp(x); }

// The lane of a tile that this thread adds up: elements lane, lane + 16, ... in order, then the
// lanes with those 8, 4, 2 and 1 away, as SumExp does on the CPU.
OCTET_DEVICE void SumTiles(const ScanShared& shared, int64_t begin, int64_t held, TileSum* tiles) {
  const int tile = static_cast<int>(threadIdx.x) / kLanesOfTile;
  const int lane = static_cast<int>(threadIdx.x) % kLanesOfTile;
  if (threadIdx.x >= (kTilesOfRun * kLanesOfTile + 31) / 32 * 32) return;  // whole warps
  float sum = 0;
  for (int i = lane; i < kSamplingTile; i += kLanesOfTile) {
    sum += shared.exps[tile * kSamplingTile + i];
  }
  for (int lanes = kLanesOfTile / 2; lanes > 0; lanes /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
  }
  const int64_t first = begin + tile * kSamplingTile;
  if (lane == 0 && first < held) tiles[first / kSamplingTile] = {shared.tile_max[tile], sum};
}

OCTET_DEVICE void TileSumsOfRun(ScanShared& shared, const RunLogits& run, int64_t begin,
                                int64_t held, TileSum* tiles) {
  constexpr int kWarpsOfTile = static_cast<int>(kSamplingTile) / 128;
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
    float max = QuadMax(run.of[quad]);
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      max = MaxPassingNan(__shfl_xor_sync(0xffffffffu, max, lanes), max);
    }
    if (threadIdx.x % 32 == 0) shared.warp_max[quad][threadIdx.x / 32] = max;
  }
  __syncthreads();
  if (threadIdx.x < kTilesOfRun) {
    const float* warps = &shared.warp_max[0][0] + threadIdx.x * kWarpsOfTile;
    float max = warps[0];
    for (int w = 1; w < kWarpsOfTile; ++w) max = MaxPassingNan(warps[w], max);
    shared.tile_max[threadIdx.x] = max;
  }
  __syncthreads();
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
    const int place = PlaceInRun(quad);
    const float max = shared.tile_max[place / kSamplingTile];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool beyond = begin + place + i >= held;
      shared.exps[place + i] = beyond ? 0.0f : ExpOrZero(run.of[quad][i] - max);
    }
  }
  if (kPlantedBug != kMissingBarrier) __syncthreads();
  SumTiles(shared, begin, held, tiles);
  __syncthreads();
}

OCTET_DEVICE void AdjustRun(const RowAdjuster& adjust, int64_t begin, const VocabCut& cut,
                            RunLogits* run) {
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
    const int64_t place = begin + PlaceInRun(quad);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (place + i >= cut.held()) continue;
      run->of[quad][i] = adjust(run->of[quad][i], cut.begin() + static_cast<int32_t>(place) + i);
    }
  }
}

OCTET_DEVICE uint64_t BestLogitOfThread(const RunLogits& run, int32_t first_token) {
  uint64_t best = 0;
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float logit = run.of[quad][i];
      if (!(logit > kNoLogit)) continue;
      const uint64_t key = CandidateKey(logit, first_token + PlaceInRun(quad) + i);
      best = key > best ? key : best;
    }
  }
  return best;
}

OCTET_DEVICE uint32_t WordOf(const SamplingParams& params, int64_t position, int32_t token) {
  const auto words = Philox(params.seed, static_cast<uint64_t>(position),
                            static_cast<uint32_t>(token) / 4, params.sample_index);
  const int32_t i = token % 4;
  return i == 0 ? words[0] : i == 1 ? words[1] : i == 2 ? words[2] : words[3];
}

// The thread's best score. All get a rough score; those that may be the block's best an exact one.
OCTET_DEVICE uint64_t BestScoreOfThread(ScanShared& shared, const RunLogits& run,
                                        const SamplingParams& params, int64_t position,
                                        int32_t first_token) {
  float rough[kQuads][4];
  uint32_t best = 0;
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
    const auto words =
        Philox(params.seed, static_cast<uint64_t>(position),
               static_cast<uint32_t>(first_token + PlaceInRun(quad)) / 4, params.sample_index);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      rough[quad][i] = run.of[quad][i] / params.temperature + RoughGumbelNoise(words[i]);
      if (!(run.of[quad][i] > kNoLogit)) continue;
      const uint32_t score = OrderedBits(rough[quad][i]);
      best = score > best ? score : best;
    }
  }
  best = BlockMax<kScanThreads>(best, shared.scores);
  if (best == 0) return 0;
  const float bound = RoughScoreBound(FloatOfOrdered(best));
  uint64_t key = 0;
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float logit = run.of[quad][i];
      if (!(logit > kNoLogit) || !(rough[quad][i] >= bound)) continue;
      const int32_t token = first_token + PlaceInRun(quad) + i;
      const float score = logit / params.temperature + GumbelNoise(WordOf(params, position, token));
      const uint64_t offered = CandidateKey(score, token);
      key = offered > key ? offered : key;
    }
  }
  return key;
}

// grid (runs, rows).
__global__ void __launch_bounds__(kScanThreads) ScanRuns(OfferRowsArgs args) {
  OCTET_SHARED(ScanShared, shared);
  const SamplingRow& row = args.rows[blockIdx.y];
  if (row.slot < 0) return;
  const int64_t held = args.cut.held();
  const int64_t begin = int64_t{blockIdx.x} * kRunTokens;
  const ExchangePart part(args.step->totals, held);
  const RowWorkspace workspace(args.workspace, held);
  std::byte* const out = args.workspace;
  RunLogits run = LoadRun(args.logits + row.logits_row * held, begin, held);

  if (row.share.logits) {
    SendRun(run, begin, held, reinterpret_cast<float*>(args.send + part.LogitsAt(row.before)));
  }
  if (row.share.tiles) {
    TileSumsOfRun(shared, run, begin, held,
                  reinterpret_cast<TileSum*>(args.send + part.TilesAt(row.before)));
  }
  if (row.share.best > 0) {
    SpanMaximaOfRun(run, begin, held, reinterpret_cast<float*>(out + workspace.RawAt(blockIdx.y)));
  }
  if (row.share.candidates == 0) return;

  AdjustRun(RowAdjuster(args.state, row.slot, row.position), begin, args.cut, &run);
  const SamplingParams params = args.state.records[row.slot].sampling;
  if (!ChoosesBestScore(params)) {
    SpanMaximaOfRun(run, begin, held,
                    reinterpret_cast<float*>(out + workspace.AdjustedAt(blockIdx.y)));
    return;
  }
  const int32_t first_token = args.cut.begin() + static_cast<int32_t>(begin);
  uint64_t best = IsGreedy(params)
                      ? BestLogitOfThread(run, first_token)
                      : BestScoreOfThread(shared, run, params, row.position, first_token);
  best = BlockMax<kScanThreads>(best, shared.keys);
  if (threadIdx.x == 0) {
    reinterpret_cast<uint64_t*>(out + workspace.KeysAt(blockIdx.y))[blockIdx.x] = best;
  }
}

}  // namespace octet::kernels::cuda
