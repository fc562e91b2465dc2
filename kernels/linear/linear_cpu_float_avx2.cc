// AVX2: float activations. Weights are turned to float32 a strip at a time in L1, then tiles of V
// vectors of 8 outputs times a few rows run over the strip, their accumulators in registers.
// Multiply and add are fused, as with AVX-512, and give its bits.
#include "kernels/linear/avx2.h"
#include "kernels/linear/leaf_sum.h"

namespace octet::kernels {
namespace {

constexpr int64_t kStripInputs = 32;
template <int V>
constexpr int64_t kRowsOfTile = V == 6 ? 2 : 4;  // 8 or 12 accumulators

// Dequantizes inputs [done, done + count), rounded up to whole chunks, to [count][8 V].
template <int V, bool kInt4>
void LoadCodes(const PanelArgs& args, int64_t first, const Segment& segment, int64_t done,
               int64_t count, float* to) {
  const GroupScales<V> group(args, first, segment);
  const __m256i zero = _mm256_set1_epi32(args.asymmetric ? 0 : kInt4 ? 8 : 128);
  const __m256i mask = _mm256_set1_epi32(kInt4 ? 0x0f : 0xff);
  const int64_t chunk_bytes = args.width * (kInt4 ? 4 : 8);
  const std::byte* codes =
      args.panel + segment.codes_at * args.width + done / kChunkInputs * chunk_bytes + first * 4;
  for (int64_t k = 0; k < count; k += kChunkInputs, codes += chunk_bytes) {
    for (int v = 0; v < V; ++v) {
#pragma GCC unroll 8
      for (int j = 0; j < kChunkInputs; ++j) {
        const int64_t half = kInt4 || j < 4 ? 0 : chunk_bytes / 2;
        const int shift = j % 4 * 8 + (kInt4 && j >= 4 ? 4 : 0);
        const __m256i raw =
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + half + v * 32));
        const __m256i code = _mm256_and_si256(_mm256_srli_epi32(raw, shift), mask);
        const __m256 value = _mm256_cvtepi32_ps(_mm256_sub_epi32(code, zero));
        __m256 w = _mm256_mul_ps(group.scale[v], value);
        if (args.asymmetric) w = _mm256_add_ps(w, group.offset[v]);
        _mm256_store_ps(to + ((k + j) * V + v) * kVector, w);
      }
    }
  }
}

// Converts inputs [done, done + count) of float weights to [count][8 V].
template <int V>
void LoadValues(const PanelArgs& args, int64_t first, const Segment& segment, int64_t done,
                int64_t count, float* to) {
  const int64_t bytes = args.format == WeightFormat::kF32 ? 4 : 2;
  const std::byte* from =
      args.panel + segment.codes_at * args.width + (done * args.width + first) * bytes;
  for (int64_t k = 0; k < count; ++k, from += args.width * bytes) {
    for (int v = 0; v < V; ++v) {
      __m256 w;
      if (args.format == WeightFormat::kF32) {
        w = _mm256_loadu_ps(reinterpret_cast<const float*>(from) + v * kVector);
      } else {
        const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from) + v);
        w = args.format == WeightFormat::kF16
                ? _mm256_cvtph_ps(half)
                : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
      }
      _mm256_store_ps(to + (k * V + v) * kVector, w);
    }
  }
}

// Of the panel, of so many inputs.
int64_t WeightBytes(const PanelArgs& args, int64_t inputs) {
  if (args.format == WeightFormat::kInt4) return inputs * args.width / 2;
  return inputs * args.width * (args.format == WeightFormat::kInt8 ? 1 : ValueBytes(args.format));
}

// `stride` is the rows of the block, of which this takes R.
template <int V, int R>
void MultiplyStrip(const float* strip, const float* x, int64_t stride, int64_t count, float* leaf) {
  __m256 sum[R][V];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 6
    for (int v = 0; v < V; ++v) sum[r][v] = _mm256_load_ps(leaf + r * kPanelOutputs + v * kVector);
  }
  for (int64_t k = 0; k < count; ++k, strip += V * kVector, x += stride) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const __m256 value = _mm256_set1_ps(x[r]);
#pragma GCC unroll 6
      for (int v = 0; v < V; ++v) {
        sum[r][v] = _mm256_fmadd_ps(_mm256_load_ps(strip + v * kVector), value, sum[r][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 6
    for (int v = 0; v < V; ++v) _mm256_store_ps(leaf + r * kPanelOutputs + v * kVector, sum[r][v]);
  }
}

// Up to R rows.
template <int V, int R>
void MultiplyTile(const float* strip, const float* x, int64_t stride, int64_t count, int64_t rows,
                  float* leaf) {
  if (rows == R) return MultiplyStrip<V, R>(strip, x, stride, count, leaf);
  if constexpr (R > 1) MultiplyTile<V, R - 1>(strip, x, stride, count, rows, leaf);
}

template <int V>
void AddSegment(const PanelArgs& args, int64_t first, const Segment& segment, float* leaf) {
  const int64_t rows = args.block.rows;
  alignas(32) float strip[kStripInputs * V * kVector];
  for (int64_t done = 0; done < segment.inputs; done += kStripInputs) {
    const int64_t left = segment.inputs - done;
    const int64_t count = left < kStripInputs ? left : kStripInputs;
    if (first == 0) {  // what other outputs read lies in the same lines
      Prefetch(
          args.panel + segment.codes_at * args.width + WeightBytes(args, done) + kPrefetchBytes,
          WeightBytes(args, count) / kLineBytes);
    }
    if (args.format == WeightFormat::kInt4) {
      LoadCodes<V, true>(args, first, segment, done, count, strip);
    } else if (args.format == WeightFormat::kInt8) {
      LoadCodes<V, false>(args, first, segment, done, count, strip);
    } else {
      LoadValues<V>(args, first, segment, done, count, strip);
    }
    const float* x = args.block.values + (segment.begin + done) * rows;
    for (int64_t row = 0; row < rows; row += kRowsOfTile<V>) {
      const int64_t tile = rows - row < kRowsOfTile<V> ? rows - row : kRowsOfTile<V>;
      MultiplyTile<V, kRowsOfTile<V>>(strip, x + row, rows, count, tile,
                                      leaf + row * kPanelOutputs + first);
    }
  }
}

// Outputs [first, first + 8 V) of a panel times a block of rows.
template <int V>
void SumTile(const PanelArgs& args, int64_t first, float* slots) {
  const int64_t rows = args.block.rows;
  SumLeaves(args, first, V * kVector, slots,
            [&](const Segment& segment, int64_t, const LeafStep& step) {
              if (step.first) ClearSum(step.leaf, rows, first, V * kVector);
              AddSegment<V>(args, first, segment, step.leaf);
              if (step.left != nullptr) AddSum(step.left, step.leaf, rows, first, V * kVector);
            });
}

}  // namespace

void SumPanelFloatAvx2(const PanelArgs& args, float* slots) {
  if (args.width == kPanelOutputs) {
    SumTile<6>(args, 0, slots);
    return;
  }
  for (int64_t first = 0; first < args.width; first += kVectorOutputs) {
    SumTile<2>(args, first, slots);
  }
}

}  // namespace octet::kernels
