#include "kernels/rounding/rounding_clamped.h"
#include "kernels/rounding/rounding_estimate.h"

namespace octet::kernels {
namespace {

// Rounding up gives the least unit that f16 has for what is smaller, and whole units up to 2^-14.
OCTET_INLINE __m256 NarrowEight(__m256 scales) {
  const __m256 sign = _mm256_and_ps(scales, _mm256_set1_ps(-0.0f));
  const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), scales);
  const __m256 nearest = _mm256_cvtph_ps(_mm256_cvtps_ph(magnitude, _MM_FROUND_TO_NEAREST_INT));
  const __m256 above = _mm256_cvtph_ps(_mm256_cvtps_ph(magnitude, _MM_FROUND_TO_POS_INF));
  const __m256 small = _mm256_cmp_ps(magnitude, _mm256_set1_ps(kScaleNormal), _CMP_LT_OQ);
  const __m256 finite = _mm256_cmp_ps(nearest, _mm256_set1_ps(__builtin_inff()), _CMP_LT_OQ);
  const __m256 narrow =
      _mm256_blendv_ps(nearest, _mm256_max_ps(above, _mm256_set1_ps(kScaleUnit)), small);
  return _mm256_and_ps(_mm256_or_ps(narrow, sign), finite);
}

constexpr int kEstimatesTogether = 3;

// errors[i], of kEstimatesTogether candidates; whole eights of values.
OCTET_INLINE void EstimateErrors(const float* values, int64_t count, const float* scales,
                                 const float* inverses, __m256* errors) {
  const __m256 rounder = _mm256_set1_ps(kRounder);
  __m256 scale[kEstimatesTogether];
  __m256 inverse[kEstimatesTogether];
  __m256 sum[kEstimatesTogether];
  for (int c = 0; c < kEstimatesTogether; ++c) {
    scale[c] = _mm256_set1_ps(scales[c]);
    inverse[c] = _mm256_set1_ps(inverses[c]);
    sum[c] = _mm256_setzero_ps();
  }
  for (int64_t i = 0; i < count; i += 8) {
    const __m256 v = _mm256_loadu_ps(values + i);
    for (int c = 0; c < kEstimatesTogether; ++c) {
      const __m256 rounded = _mm256_fmadd_ps(v, inverse[c], rounder);
      const __m256 clamped = _mm256_min_ps(_mm256_max_ps(rounded, _mm256_set1_ps(kRounder - 8.0f)),
                                           _mm256_set1_ps(kRounder + 7.0f));
      const __m256 error = _mm256_fnmadd_ps(_mm256_sub_ps(clamped, rounder), scale[c], v);
      sum[c] = _mm256_fmadd_ps(error, error, sum[c]);
    }
  }
  for (int c = 0; c < kEstimatesTogether; ++c) errors[c] = sum[c];
}

// Lane i is the sum of the lanes of sums[i], i < 4.
OCTET_INLINE __m128 FourTotals(const __m256* sums) {
  const __m256 fours =
      _mm256_hadd_ps(_mm256_hadd_ps(sums[0], sums[1]), _mm256_hadd_ps(sums[2], sums[3]));
  return _mm_add_ps(_mm256_castps256_ps128(fours), _mm256_extractf128_ps(fours, 1));
}

struct Avx2Steps : ClampedSteps {
  using ClampedSteps::ClampedSteps;
  static OCTET_INLINE F32x16 Narrow(F32x16 scales) {
    return {{NarrowEight(scales.v[0]), NarrowEight(scales.v[1])}};
  }

  static OCTET_INLINE uint32_t Likely(const float* values, int64_t count, const float* scales,
                                      const float* inverses) {
    if (count > kEstimated || count % 8 != 0) return kAllLikely;
    __m256 errors[kCandidates];
    for (int c = 0; c < kCandidates; c += kEstimatesTogether) {
      EstimateErrors(values, count, scales + c, inverses + c, errors + c);
    }
    const __m128 totals[] = {FourTotals(errors), FourTotals(errors + 4), FourTotals(errors + 8)};
    __m128 least = _mm_min_ps(_mm_min_ps(totals[0], totals[1]), totals[2]);
    least = _mm_min_ps(least, _mm_movehl_ps(least, least));
    least = _mm_min_ps(least, _mm_shuffle_ps(least, least, 1));
    if (!(_mm_cvtss_f32(least) >= kLeastEstimated)) return kAllLikely;
    const __m128 limit = _mm_mul_ps(_mm_shuffle_ps(least, least, 0), _mm_set1_ps(kMargin));
    uint32_t likely = 0;
    for (int i = 0; i < 3; ++i) {
      likely |= static_cast<uint32_t>(_mm_movemask_ps(_mm_cmple_ps(totals[i], limit))) << (4 * i);
    }
    return likely;
  }
};

}  // namespace

const RoundingBody kAvx2Rounding = kBody<Avx2Steps>;

}  // namespace octet::kernels
