#include "kernels/rounding/rounding_clamped.h"

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

struct Avx2Steps : ClampedSteps {
  using ClampedSteps::ClampedSteps;
  static OCTET_INLINE F32x16 Narrow(F32x16 scales) {
    return {{NarrowEight(scales.v[0]), NarrowEight(scales.v[1])}};
  }
};

}  // namespace

const RoundingBody kAvx2Rounding = kBody<Avx2Steps>;

}  // namespace octet::kernels
