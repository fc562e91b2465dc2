#include <iterator>

#include "kernels/rounding/rounding_estimate.h"
#include "kernels/rounding/rounding_lanes.h"

namespace octet::kernels {
namespace {

// What each integer from -16 to 15 gives back, looked up by its low five bits: one instruction in
// the place of two that clamp, one that takes kRounder away and one that multiplies. The least clip
// lets integers reach from -11 to 11.
struct TableSteps {
  static constexpr int kTogether = 4;
  OCTET_INLINE explicit TableSteps(float scale) {
    const __m512 splat = _mm512_set1_ps(scale);
    from_zero_ =
        _mm512_mul_ps(splat, _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7));
    below_zero_ = _mm512_mul_ps(
        splat, _mm512_setr_ps(-8, -8, -8, -8, -8, -8, -8, -8, -8, -7, -6, -5, -4, -3, -2, -1));
  }
  OCTET_INLINE F32x16 Back(F32x16 sum) const {
    return {_mm512_permutex2var_ps(from_zero_, _mm512_castps_si512(sum.v), below_zero_)};
  }

  static OCTET_INLINE uint32_t Likely(const float* values, int64_t count, const float* scales,
                                      const float* inverses) {
    if (count > kEstimated || count % kLanes != 0) return kAllLikely;
    F32x16 errors[kCandidates];
    for (int c = 0; c < kCandidates; c += kTogether) {
      EstimateErrors(values, count, scales + c, inverses + c, errors + c);
    }
    const __m512 totals = Totals(errors).v;
    const float least = -ReduceMax(Splat(0.0f) - F32x16{totals});
    if (!(least >= kLeastEstimated)) return kAllLikely;
    return _mm512_cmp_ps_mask(totals, _mm512_set1_ps(least * kMargin), _CMP_LE_OQ);
  }

  // Rounding up gives the least unit that f16 has for what is smaller, and whole units up to 2^-14.
  static OCTET_INLINE F32x16 Narrow(F32x16 scales) {
    const __m512 sign = _mm512_and_ps(scales.v, _mm512_set1_ps(-0.0f));
    const __m512 magnitude = _mm512_andnot_ps(_mm512_set1_ps(-0.0f), scales.v);
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    constexpr int kUp = _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC;
    const __m512 nearest = _mm512_cvtph_ps(_mm512_cvtps_ph(magnitude, kNearest));
    const __m512 above = _mm512_cvtph_ps(_mm512_cvtps_ph(magnitude, kUp));
    const __mmask16 small = _mm512_cmp_ps_mask(magnitude, _mm512_set1_ps(kScaleNormal), _CMP_LT_OQ);
    const __mmask16 finite =
        _mm512_cmp_ps_mask(nearest, _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ);
    const __m512 narrow = _mm512_mask_max_ps(nearest, small, above, _mm512_set1_ps(kScaleUnit));
    return {_mm512_maskz_or_ps(finite, narrow, sign)};
  }

  // Lanes of several sums are added side by side, each in ReduceSum's order.
  static OCTET_INLINE F32x16 Totals(const F32x16* sums) {
    const __m512 first = AddFour(sums);
    const __m512 second = AddFour(sums + 4);
    const __m512 third = AddFour(sums + 8);
    // Four of a block of lanes are one total: take one of each, then put them in order.
    __m512 mixed = _mm512_mask_mov_ps(_mm512_set1_ps(__builtin_inff()), 0x1111, first);
    mixed = _mm512_mask_mov_ps(mixed, 0x2222, second);
    mixed = _mm512_mask_mov_ps(mixed, 0x4444, third);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return {_mm512_permutexvar_ps(order, mixed)};
  }

 private:
  // errors[i], of kTogether candidates; whole lanes of values. Four operations for a value and
  // candidate in the place of six.
  static OCTET_INLINE void EstimateErrors(const float* values, int64_t count, const float* scales,
                                          const float* inverses, F32x16* errors) {
    const TableSteps steps[] = {TableSteps(scales[0]), TableSteps(scales[1]), TableSteps(scales[2]),
                                TableSteps(scales[3])};
    static_assert(std::size(steps) == kTogether);
    __m512 inverse[kTogether], sum[kTogether];
#pragma GCC unroll 4
    for (int c = 0; c < kTogether; ++c) {
      inverse[c] = _mm512_set1_ps(inverses[c]);
      sum[c] = _mm512_setzero_ps();
    }
    for (int64_t i = 0; i < count; i += kLanes) {
      const __m512 v = _mm512_loadu_ps(values + i);
#pragma GCC unroll 4
      for (int c = 0; c < kTogether; ++c) {
        const __m512 rounded = _mm512_fmadd_ps(v, inverse[c], _mm512_set1_ps(kRounder));
        const __m512 error = _mm512_sub_ps(v, steps[c].Back({rounded}).v);
        sum[c] = _mm512_fmadd_ps(error, error, sum[c]);
      }
    }
#pragma GCC unroll 4
    for (int c = 0; c < kTogether; ++c) errors[c] = {sum[c]};
  }
  // All lanes of block i are the total of sums[i].
  static OCTET_INLINE __m512 AddFour(const F32x16* sums) {
    const __m512 ab = AddHalves(sums[0].v, sums[1].v);
    const __m512 cd = AddHalves(sums[2].v, sums[3].v);
    const __m512 fours =
        _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    const __m512 twos = _mm512_add_ps(fours, _mm512_permute_ps(fours, 0x4e));
    return _mm512_add_ps(twos, _mm512_permute_ps(twos, 0xb1));
  }
  // Lanes i and i + 8 of a, then of b.
  static OCTET_INLINE __m512 AddHalves(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }

  __m512 from_zero_;
  __m512 below_zero_;
};

}  // namespace

const RoundingBody kAvx512Rounding = kBody<TableSteps>;

}  // namespace octet::kernels
