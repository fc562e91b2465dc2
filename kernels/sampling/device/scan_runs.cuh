// First kernel of OfferRows: a block looks at kRunTokens of a row once. It keeps them in registers,
// sends them where the row brings its logits, sums its tiles, and leaves for the second kernel the
// best logit of the run, a bound of its best score or the maxima of its spans.
#pragma once

#include <cstdint>

#include "base/device/primitives.cuh"
#include "kernels/sampling/device/best_score.cuh"
#include "kernels/sampling/device/candidate_key.cuh"
#include "kernels/sampling/device/planted_bug.h"
#include "kernels/sampling/device/row_workspace.h"
#include "kernels/sampling/device/run_logits.cuh"

namespace octet::kernels::cuda {

inline constexpr int kTilesOfRun = static_cast<int>(kRunTokens / kSamplingTile);
inline constexpr int kLanesOfTile = 16;  // as in kernels/lanes.h

struct ScanShared {
  float exps[kRunTokens];
  float warp_max[kQuads][kRunThreads / 32];
  float tile_max[kTilesOfRun];
  uint64_t keys[kRunThreads / 32];
  BoundShared bound;
};

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

// grid (runs, rows).
__global__ void __launch_bounds__(kRunThreads, 6) ScanRuns(OfferRowsArgs args) {
  OCTET_SHARED(ScanShared, shared);
  const SamplingRow& row = args.rows[blockIdx.y];
  if (row.slot < 0) return;
  const int64_t held = args.cut.held();
  const int64_t begin = int64_t{blockIdx.x} * kRunTokens;
  const RunPlace at{begin, held, args.cut.begin() + static_cast<int32_t>(begin)};
  RunLogits run = LoadRun(args.logits + row.logits_row * held, at);
  // All loads are on their way before the first is waited for.
  const RowShare share = row.share;
  const SamplingParams params = args.state.records[row.slot].sampling;
  const RowAdjuster adjust(args.state, row.slot, row.position);
  const RowWorkspace workspace(args.workspace, held);
  std::byte* const out = args.workspace;
  const ExchangePart part(args.step->totals, held);

  if (share.logits) {
    SendRun(run, begin, held, reinterpret_cast<float*>(args.send + part.LogitsAt(row.before)));
  }
  if (share.tiles) {
    TileSumsOfRun(shared, run, begin, held,
                  reinterpret_cast<TileSum*>(args.send + part.TilesAt(row.before)));
  }
  if (share.best > 0) {
    SpanMaximaOfRun(run, begin, held, reinterpret_cast<float*>(out + workspace.RawAt(blockIdx.y)));
  }
  if (share.candidates == 0) return;

  AdjustRun(adjust, at, &run);
  if (!ChoosesBestScore(params)) {
    SpanMaximaOfRun(run, begin, held,
                    reinterpret_cast<float*>(out + workspace.AdjustedAt(blockIdx.y)));
    return;
  }
  std::byte* const left = out + workspace.KeysAt(blockIdx.y) + blockIdx.x * sizeof(uint64_t);
  if (!IsGreedy(params)) {
    StoreBoundOfRun(shared.bound, BoundScores(run, params, row.position, at.first_token), run,
                    reinterpret_cast<RunBound*>(left));
    return;
  }
  const uint64_t best = BlockMax<kRunThreads>(BestLogitOfThread(run, at.first_token), shared.keys);
  if (threadIdx.x == 0) *reinterpret_cast<uint64_t*>(left) = best;
}

}  // namespace octet::kernels::cuda
