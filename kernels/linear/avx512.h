// What the AVX-512 and AMX files of the linear share. Compiled into each, hence the unnamed
// namespace (see panel.h).
#pragma once

// GCC 12 warns of its own intrinsics, wherever they are used (its bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include "kernels/linear/panel.h"
#include "kernels/linear/quantize_rows.h"

namespace octet::kernels {

// The float modes, in linear_cpu_float_avx512.cc.
void SumPanelFloatAvx512(const PanelArgs& args, float* slots);

namespace {

// How memory is asked for codes ahead of their use. Where the core's own prefetchers reach the
// bandwidth (AMD) one or two rows leave it to them, as more requests slow those; with more rows
// they fall behind: 12.4 instead of 11.0 GB/s at eight. Intel's went from 22.6 to 29.4 GB/s at one
// row when asked (2 threads): for L2 first, and for L1 once it is there. A request for L2 may be
// dropped where many are under way, so there is a second one.
enum class Prefetch : uint8_t { kNone, kFar, kStaged, kPair };
constexpr int64_t kFarBytes = 8192;
constexpr int64_t kStagedBytes[] = {5120, 2560, 512};  // to L2, once more, to L1
constexpr int64_t kPairBytes[] = {3584, 1536, 512};    // the same, of each of two streams

// Inlined at once, as GCC takes a function that only prefetches for one without effect.
template <Prefetch kPrefetch>
[[gnu::always_inline]] inline void PrefetchLines(const std::byte* codes, int64_t bytes) {
  const auto* at = reinterpret_cast<const char*>(codes);
  for (int64_t line = 0; line < bytes; line += 64) {
    if (kPrefetch == Prefetch::kFar) _mm_prefetch(at + kFarBytes + line, _MM_HINT_T0);
    if (kPrefetch == Prefetch::kPair) {
      _mm_prefetch(at + kPairBytes[0] + line, _MM_HINT_T1);
      _mm_prefetch(at + kPairBytes[1] + line, _MM_HINT_T1);
      _mm_prefetch(at + kPairBytes[2] + line, _MM_HINT_T0);
    }
    if (kPrefetch == Prefetch::kStaged) {
      _mm_prefetch(at + kStagedBytes[0] + line, _MM_HINT_T1);
      _mm_prefetch(at + kStagedBytes[1] + line, _MM_HINT_T1);
      _mm_prefetch(at + kStagedBytes[2] + line, _MM_HINT_T0);
    }
  }
}

// 16 inputs, zeros where fewer than 16 are `left`.
[[maybe_unused]] inline __m512 LoadInputs(const float* x, int64_t left) {
  if (left >= 16) return _mm512_loadu_ps(x);
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << left) - 1), x);
}

[[maybe_unused]] inline RowScale ScaleOf(const float* x, int64_t inputs) {
  __m512i amax = _mm512_setzero_si512();  // as integers, so that a NaN is the largest
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  for (int64_t k = 0; k < inputs; k += 16) {
    const __m512i bits = _mm512_castps_si512(LoadInputs(x + k, inputs - k));
    amax = _mm512_max_epu32(amax, _mm512_and_si512(bits, magnitude));
  }
  const uint32_t bits = _mm512_reduce_max_epu32(amax);
  return RowScaleOf(bits);
}

// The scales, and offsets if any, of V vectors of outputs in one group.
template <int V>
struct GroupScales {
  __m512 scale[V];
  __m512 offset[V];

  inline GroupScales(const PanelArgs& args, int64_t first, const Segment& segment) {
    const int64_t bytes = args.scale_format == ScaleFormat::kF32 ? 4 : 2;
    const std::byte* from = args.panel + segment.scales_at * args.width + first * bytes;
    Load(args.scale_format, from, scale);
    if (args.asymmetric) {
      Load(args.scale_format, from + args.width * bytes, offset);
    } else {
      for (int v = 0; v < V; ++v) offset[v] = _mm512_setzero_ps();
    }
  }

  static inline void Load(ScaleFormat format, const std::byte* from, __m512 (&to)[V]) {
    for (int v = 0; v < V; ++v) {
      if (format == ScaleFormat::kF32) {
        to[v] = _mm512_loadu_ps(reinterpret_cast<const float*>(from) + v * 16);
      } else {
        to[v] = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(from) + v));
      }
    }
  }
};

}  // namespace
}  // namespace octet::kernels
