// What the two forms of AVX2 with int8 activations share: one row (linear_cpu_row_avx2.cc) and more
// (linear_cpu_avx2.cc). Compiled into each, hence the unnamed namespace (see panel.h).
//
// int4 codes: vpmaddubsw multiplies unsigned codes by signed activations and adds pairs to int16:
// at most 2 * 15 * 127 = 3810 in magnitude, so eight of them fit one int16 accumulator before it is
// widened to int32.
//
// int8 codes would saturate there: their bytes are widened to int16, even and odd ones apart, as
// are those of the activations, and vpmaddwd adds the pairs in int32.
#pragma once

#include "kernels/linear/avx2.h"
#include "kernels/linear/leaf_sum.h"

namespace octet::kernels {

// One row, and a whole panel or two.
void SumRowAvx2(const PanelArgs& args, float* slots);

namespace {

constexpr int kNarrowQuads = 8;  // of inputs, that an int16 accumulator holds: 8 * 3810 < 2^15

inline __m256i LoadCodes(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

// As instructions, because GCC 12 reorders the intrinsics' sums and then spills them.
inline void Add16(__m256i& sum, __m256i a) { asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(a)); }
inline void Add32(__m256i& sum, __m256i a) { asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(a)); }

// Four bytes, in every lane.
inline __m256i LoadQuad(const void* q) {
  int32_t quad;
  __builtin_memcpy(&quad, q, 4);
  return _mm256_set1_epi32(quad);
}

// What the sums of a segment of R rows are scaled by and added to.
struct SegmentEnd {
  const float* x_scale = nullptr;  // [R]
  const int32_t* x_sum = nullptr;  // [R]
  LeafStep to;
};

// `total` is [R][V].
template <int R, int V, bool kAsymmetric, bool kJoins>
[[gnu::always_inline]] inline void AddToLeaf(const SegmentEnd& end, const GroupScales<V>& group,
                                             const __m256i* total) {
  const __m256 begun = _mm256_castsi256_ps(_mm256_set1_epi32(end.to.first ? 0 : -1));
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const __m256 x_scale = _mm256_set1_ps(end.x_scale[r]);
    const __m256i x_sum = _mm256_set1_epi32(end.x_sum[r]);
#pragma GCC unroll 6
    for (int v = 0; v < V; ++v, ++total) {
      const int64_t at = r * kPanelOutputs + v * kVector;
      __m256i sums = *total;
      if (!kAsymmetric) sums = _mm256_add_epi32(sums, x_sum);
      const __m256 scale = _mm256_mul_ps(group.scale[v], x_scale);
      const __m256 before = _mm256_and_ps(begun, _mm256_load_ps(end.to.leaf + at));
      __m256 sum = _mm256_add_ps(before, _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale));
      if (kAsymmetric) {
        sum = _mm256_add_ps(sum, _mm256_mul_ps(group.offset[v], _mm256_castsi256_ps(x_sum)));
      }
      if (kJoins) sum = _mm256_add_ps(_mm256_load_ps(end.to.left + at), sum);
      _mm256_store_ps((kJoins ? end.to.left : end.to.leaf) + at, sum);
    }
  }
}

template <int R, int V, bool kAsymmetric>
[[gnu::always_inline]] inline void AddToLeaf(const SegmentEnd& end, const GroupScales<V>& group,
                                             const __m256i* total) {
  end.to.left != nullptr ? AddToLeaf<R, V, kAsymmetric, true>(end, group, total)
                         : AddToLeaf<R, V, kAsymmetric, false>(end, group, total);
}

}  // namespace
}  // namespace octet::kernels
