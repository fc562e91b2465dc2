// The logits of a run (offer_rows.h) in the registers of a block.
#pragma once

#include <cstdint>

#include "base/device/primitives.cuh"
#include "kernels/sampling/device/adjusted_logit.cuh"
#include "kernels/sampling/device/candidate_key.cuh"
#include "kernels/sampling/device/offer_rows.h"
#include "kernels/sampling/device/planted_bug.h"

namespace octet::kernels::cuda {

inline constexpr int kRunThreads = 256;
inline constexpr int kQuads = static_cast<int>(kRunTokens) / (4 * kRunThreads);

// A thread's logits: of each of its quads four neighbours, -inf beyond the row. Thread t holds
// tokens quad * 1024 + 4 t of the run.
struct RunLogits {
  float of[kQuads][4];
};
OCTET_DEVICE int PlaceInRun(int quad) {
  return quad * 4 * kRunThreads + 4 * static_cast<int>(threadIdx.x);
}

struct RunPlace {
  int64_t begin;  // among the entries of the vocabulary that are held
  int64_t held;
  int32_t first_token;  // id of that at `begin`
};

// `row` is aligned to 16 where `held` is a multiple of 4.
OCTET_DEVICE RunLogits LoadRun(const float* row, const RunPlace& at) {
  RunLogits run;
  if (at.held % 4 == 0 && at.begin + kRunTokens <= at.held) {
#pragma unroll
    for (int quad = 0; quad < kQuads; ++quad) {
      const float4 four = *reinterpret_cast<const float4*>(row + at.begin + PlaceInRun(quad));
      run.of[quad][0] = four.x;
      run.of[quad][1] = four.y;
      run.of[quad][2] = four.z;
      run.of[quad][3] = four.w;
    }
    return run;
  }
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
    const int64_t place = at.begin + PlaceInRun(quad);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t end = at.held + (kPlantedBug == kReadPastEnd ? 1 : 0);
      run.of[quad][i] = place + i < end ? row[place + i] : kNoLogit;
    }
  }
  return run;
}

OCTET_DEVICE void AdjustRun(const RowAdjuster& adjust, const RunPlace& at, RunLogits* run) {
  if (adjust.changes_nothing()) return;
#pragma unroll
  for (int quad = 0; quad < kQuads; ++quad) {
    const int place = PlaceInRun(quad);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (at.begin + place + i >= at.held) continue;
      run->of[quad][i] = adjust(run->of[quad][i], at.first_token + place + i);
    }
  }
}

}  // namespace octet::kernels::cuda
