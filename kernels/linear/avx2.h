// What the two AVX2 files of the linear share. Compiled into each, hence the unnamed namespace (see
// panel.h). A vector holds 8 outputs; a tile is V of them, and 16 outputs (V = 2) are the least
// that a panel holds.
#pragma once

// GCC 12 warns of its own intrinsics, wherever they are used (its bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "kernels/linear/panel.h"

namespace octet::kernels {

// The float modes, in linear_cpu_float_avx2.cc.
void SumPanelFloatAvx2(const PanelArgs& args, float* slots);

namespace {

constexpr int64_t kVector = 8;  // outputs
constexpr int64_t kLineBytes = 64;
constexpr int64_t kPrefetchBytes = 6144;  // how far ahead memory is asked for (README.md)

// Asks for lines from `ahead` on to come to L2. (Not inlined at once, GCC 12 takes it for a
// function without effect.)
[[gnu::always_inline]] inline void Prefetch(const std::byte* ahead, int64_t lines) {
  for (int64_t line = 0; line < lines; ++line) {
    _mm_prefetch(reinterpret_cast<const char*>(ahead + line * kLineBytes), _MM_HINT_T1);
  }
}

// 8 inputs, zeros where fewer than 8 are `left`.
[[maybe_unused]] inline __m256 LoadInputs(const float* x, int64_t left) {
  if (left >= 8) return _mm256_loadu_ps(x);
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(x,
                            _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(left)), lanes));
}

// The scales, and offsets if any, of V vectors of outputs in one group.
template <int V>
struct GroupScales {
  __m256 scale[V];
  __m256 offset[V];

  inline GroupScales(const PanelArgs& args, int64_t first, const Segment& segment) {
    const int64_t bytes = args.scale_format == ScaleFormat::kF32 ? 4 : 2;
    const std::byte* from = args.panel + segment.scales_at * args.width + first * bytes;
    Load(args.scale_format, from, scale);
    if (args.asymmetric) {
      Load(args.scale_format, from + args.width * bytes, offset);
    } else {
      for (int v = 0; v < V; ++v) offset[v] = _mm256_setzero_ps();
    }
  }

  static inline void Load(ScaleFormat format, const std::byte* from, __m256 (&to)[V]) {
    for (int v = 0; v < V; ++v) {
      if (format == ScaleFormat::kF32) {
        to[v] = _mm256_loadu_ps(reinterpret_cast<const float*>(from) + v * kVector);
      } else {
        to[v] = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from) + v));
      }
    }
  }
};

}  // namespace
}  // namespace octet::kernels
