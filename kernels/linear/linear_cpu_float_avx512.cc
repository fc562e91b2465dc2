// AVX-512: float activations. Weights are turned to float32 a strip at a time in L1, then a tile of
// V vectors of 16 outputs times R rows runs over the strip, its accumulators in registers.
#include "kernels/linear/avx512.h"
#include "kernels/linear/leaf_sum.h"

namespace octet::kernels {
namespace {

constexpr int64_t kStripInputs = 32;

// Dequantizes inputs [done, done + count), rounded up to whole chunks, to [count][16 V].
template <int V, bool kInt4>
void LoadCodes(const PanelArgs& args, int64_t first, const Segment& segment, int64_t done,
               int64_t count, float* to) {
  const GroupScales<V> group(args, first, segment);
  const int zero = args.asymmetric ? 0 : kInt4 ? 8 : 128;
  // Of an int4 code in the low bits of a lane, whatever the others are.
  const __m512 values = _mm512_cvtepi32_ps(
      _mm512_sub_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                       _mm512_set1_epi32(zero)));
  const int64_t chunk_bytes = args.width * (kInt4 ? 4 : 8);
  const std::byte* codes =
      args.panel + segment.codes_at * args.width + done / kChunkInputs * chunk_bytes + first * 4;
  for (int64_t k = 0; k < count; k += kChunkInputs, codes += chunk_bytes) {
    if (args.staged_prefetch) PrefetchLines<Prefetch::kStaged>(codes, chunk_bytes);
    for (int v = 0; v < V; ++v) {
#pragma GCC unroll 8
      for (int j = 0; j < kChunkInputs; ++j) {
        const int64_t half = kInt4 || j < 4 ? 0 : chunk_bytes / 2;
        const int shift = j % 4 * 8 + (kInt4 && j >= 4 ? 4 : 0);
        const __m512i raw = _mm512_loadu_si512(codes + half + v * 64);
        const __m512i code = _mm512_srli_epi32(raw, shift);
        const __m512 value =
            kInt4 ? _mm512_permutexvar_ps(code, values)
                  : _mm512_cvtepi32_ps(_mm512_sub_epi32(
                        _mm512_and_si512(code, _mm512_set1_epi32(0xff)), _mm512_set1_epi32(zero)));
        __m512 w = _mm512_mul_ps(group.scale[v], value);
        if (args.asymmetric) w = _mm512_add_ps(w, group.offset[v]);
        _mm512_store_ps(to + ((k + j) * V + v) * 16, w);
      }
    }
  }
}

// Converts inputs [done, done + count) of float weights to [count][16 V].
template <int V>
void LoadValues(const PanelArgs& args, int64_t first, const Segment& segment, int64_t done,
                int64_t count, float* to) {
  const int64_t bytes = args.format == WeightFormat::kF32 ? 4 : 2;
  const std::byte* from =
      args.panel + segment.codes_at * args.width + (done * args.width + first) * bytes;
  for (int64_t k = 0; k < count; ++k, from += args.width * bytes) {
    if (args.staged_prefetch) PrefetchLines<Prefetch::kStaged>(from, V * 16 * bytes);
    for (int v = 0; v < V; ++v) {
      __m512 w;
      if (args.format == WeightFormat::kF32) {
        w = _mm512_loadu_ps(reinterpret_cast<const float*>(from) + v * 16);
      } else {
        const __m256i half = _mm256_load_si256(reinterpret_cast<const __m256i*>(from) + v);
        w = args.format == WeightFormat::kF16
                ? _mm512_cvtph_ps(half)
                : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
      }
      _mm512_store_ps(to + (k * V + v) * 16, w);
    }
  }
}

template <int V, int R>
void MultiplyStrip(const float* strip, const float* x, int64_t count, float* leaf) {
  __m512 sum[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) sum[r][v] = _mm512_load_ps(leaf + r * kPanelOutputs + v * 16);
  }
  for (int64_t k = 0; k < count; ++k, strip += V * 16, x += R) {
    __m512 w[V];
    for (int v = 0; v < V; ++v) w[v] = _mm512_load_ps(strip + v * 16);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512 value = _mm512_set1_ps(x[r]);
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) {
        sum[r][v] = _mm512_fmadd_ps(w[v], value, sum[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) _mm512_store_ps(leaf + r * kPanelOutputs + v * 16, sum[r][v]);
  }
}

using StripFunction = void (*)(const float* strip, const float* x, int64_t count, float* leaf);
template <int V>
constexpr StripFunction kStrips[kBlockRows] = {
    MultiplyStrip<V, 1>, MultiplyStrip<V, 2>, MultiplyStrip<V, 3>, MultiplyStrip<V, 4>,
    MultiplyStrip<V, 5>, MultiplyStrip<V, 6>, MultiplyStrip<V, 7>, MultiplyStrip<V, 8>};

template <int V>
void AddSegment(const PanelArgs& args, int64_t first, const Segment& segment, float* leaf) {
  const int64_t rows = args.block.rows;
  alignas(64) float strip[kStripInputs * V * 16];
  for (int64_t done = 0; done < segment.inputs; done += kStripInputs) {
    const int64_t left = segment.inputs - done;
    const int64_t count = left < kStripInputs ? left : kStripInputs;
    if (args.format == WeightFormat::kInt4) {
      LoadCodes<V, true>(args, first, segment, done, count, strip);
    } else if (args.format == WeightFormat::kInt8) {
      LoadCodes<V, false>(args, first, segment, done, count, strip);
    } else {
      LoadValues<V>(args, first, segment, done, count, strip);
    }
    const float* x = args.block.values + (segment.begin + done) * rows;
    kStrips<V>[rows - 1](strip, x, count, leaf + first);
  }
}

// Outputs [first, first + 16 V) of a panel times a block of rows.
template <int V>
void SumTile(const PanelArgs& args, int64_t first, float* slots) {
  const int64_t rows = args.block.rows;
  SumLeaves(args, first, V * 16, slots, [&](const Segment& segment, int64_t, const LeafStep& step) {
    if (step.first) ClearSum(step.leaf, rows, first, V * 16);
    AddSegment<V>(args, first, segment, step.leaf);
    if (step.left != nullptr) AddSum(step.left, step.leaf, rows, first, V * 16);
  });
}

}  // namespace

void SumPanelFloatAvx512(const PanelArgs& args, float* slots) {
  if (args.width == kPanelOutputs) {
    SumTile<3>(args, 0, slots);
    return;
  }
  for (int64_t first = 0; first < args.width; first += kVectorOutputs) {
    SumTile<1>(args, first, slots);
  }
}

}  // namespace octet::kernels
