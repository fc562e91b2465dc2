// The softmax of four vectors that see a whole block, step by step (AVX-512): a reduction of four
// takes little more than one of one, and four chains of latency run beside each other. The same
// bits as WeighCodes of each. "Fours" are lanes of which quarter r, all four of it, is vector r's.
#pragma once

#include "kernels/attention/attention_softmax.h"

namespace octet::kernels {
namespace {

// The fours of what ReduceSum or ReduceMax gives of each, `op` being the sum or greater of two.
template <typename Op>
OCTET_INLINE F32x16 ReduceFour(const F32x16 (&x)[4], const Op& op) {
  const auto join = [&](F32x16 a, F32x16 b, auto low, auto high) {
    return op(F32x16{_mm512_shuffle_f32x4(a.v, b.v, low.value)},
              F32x16{_mm512_shuffle_f32x4(a.v, b.v, high.value)});
  };
  using Halves = std::integral_constant<int, 0x44>;
  using OtherHalves = std::integral_constant<int, 0xee>;
  using Even = std::integral_constant<int, 0x88>;
  using Odd = std::integral_constant<int, 0xdd>;
  const F32x16 four = join(join(x[0], x[1], Halves(), OtherHalves()),
                           join(x[2], x[3], Halves(), OtherHalves()), Even(), Odd());
  const F32x16 two = op(four, F32x16{_mm512_permute_ps(four.v, 0x4e)});
  return op(two, F32x16{_mm512_permute_ps(two.v, 0xb1)});
}

// f(0), .. f(3), as constants.
template <typename F>
OCTET_INLINE void ForFour(const F& f) {
  f(std::integral_constant<int, 0>());
  f(std::integral_constant<int, 1>());
  f(std::integral_constant<int, 2>());
  f(std::integral_constant<int, 3>());
}

template <int R>
OCTET_INLINE F32x16 SplatQuarter(F32x16 fours) {
  return {_mm512_shuffle_f32x4(fours.v, fours.v, R * 0x55)};
}

// Floats [0, 4) of four rows `stride` apart, a row in each quarter.
OCTET_INLINE F32x16 LoadQuarters(const float* rows, int64_t stride) {
  __m512 x = _mm512_castps128_ps512(_mm_loadu_ps(rows));
  x = _mm512_mask_broadcast_f32x4(x, 0x00f0, _mm_loadu_ps(rows + stride));
  x = _mm512_mask_broadcast_f32x4(x, 0x0f00, _mm_loadu_ps(rows + 2 * stride));
  return {_mm512_mask_broadcast_f32x4(x, 0xf000, _mm_loadu_ps(rows + 3 * stride))};
}
OCTET_INLINE void StoreQuarters(float* rows, int64_t stride, F32x16 x) {
  _mm_storeu_ps(rows, _mm512_castps512_ps128(x.v));
  _mm_storeu_ps(rows + stride, _mm512_extractf32x4_ps(x.v, 1));
  _mm_storeu_ps(rows + 2 * stride, _mm512_extractf32x4_ps(x.v, 2));
  _mm_storeu_ps(rows + 3 * stride, _mm512_extractf32x4_ps(x.v, 3));
}
OCTET_INLINE void StoreFours(float* to, F32x16 fours) {
  const __m512i at = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
  _mm_storeu_ps(to, _mm512_castps512_ps128(_mm512_permutexvar_ps(at, fours.v)));
}

// The weights of four vectors.
struct FourWeights {
  F32x16 lanes[4][kBlockParts];  // scores, then weights times the scales of values
  F32x16 factor;                 // fours, as BlockWeights::factor
  F32x16 greatest;               // fours: of the lanes
};

// Turns scores in `weights->lanes` into weights; states are `stride` apart. Fetches `lines` at four
// places.
OCTET_INLINE void WeighFour(const AttentionTile& tile, float* states, int64_t stride, Ahead& ahead,
                            int64_t lines, FourWeights* weights) {
  const float* v_scale = tile.scales + 2 * kKvBlockTokens;
  const float* v_zero = v_scale + kKvBlockTokens;
  const auto add = [](F32x16 a, F32x16 b) { return a + b; };
  const auto greater = [](F32x16 a, F32x16 b) { return Max(a, b); };
  const auto greatest = [](const F32x16(&x)[kBlockParts]) {
    return Max(Max(x[0], x[1]), Max(x[2], x[3]));
  };
  F32x16 sums[4], zeros[4], most[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) most[r] = greatest(weights->lanes[r]);
  const F32x16 state = LoadQuarters(states, stride);
  const F32x16 old_max = {_mm512_permute_ps(state.v, kStateMax * 0x55)};
  const F32x16 max = Max(old_max, ReduceFour(most, greater));
  const __mmask16 moved = _mm512_cmp_ps_mask(max.v, old_max.v, _CMP_NEQ_UQ);
  weights->factor = Select(moved, Exp(old_max - max), Splat(1.0f));
  ForFour([&](auto r) {
    F32x16(&lanes)[kBlockParts] = weights->lanes[r.value];
    F32x16 p[kBlockParts], z[kBlockParts];
#pragma GCC unroll 4
    for (int i = 0; i < kBlockParts; ++i) {
      p[i] = Exp(lanes[i] - SplatQuarter<r.value>(max));
      z[i] = p[i] * LoadLanes(v_zero + i * kLanes);
      lanes[i] = p[i] * LoadLanes(v_scale + i * kLanes);
    }
    sums[r.value] = (p[0] + p[1]) + (p[2] + p[3]);
    zeros[r.value] = (z[0] + z[1]) + (z[2] + z[3]);
    most[r.value] = greatest(lanes);
    ahead.Fetch(lines);
  });
  constexpr Mask16 kSums = 0x1111 << kStateSum, kZeros = 0x1111 << kStateZero;
  const F32x16 added = Select(kSums, ReduceFour(sums, add), ReduceFour(zeros, add));
  const F32x16 kept = Select(0x1111 << kStateMax, max, Splat(1.0f));  // kStateSeen is 1
  StoreQuarters(states, stride, Select(kSums | kZeros, state * weights->factor + added, kept));
  weights->greatest = ReduceFour(most, greater);
}

}  // namespace
}  // namespace octet::kernels
