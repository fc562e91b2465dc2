// Int8 activations for the tile unit: bands of 16 rows, as panel.h lays them out.
#include "kernels/linear/avx512.h"

namespace octet::kernels {
namespace {

// 16 inputs as integers, zeros where fewer are `left`.
inline __m512i QuantizeInputs(const float* x, int64_t left, __m512 inverse) {
  if (left <= 0) return _mm512_setzero_si512();
  return _mm512_cvtps_epi32(_mm512_mul_ps(LoadInputs(x, left), inverse));
}

// Writes one row's codes of one segment, zeros up to the end of its last tile, and returns their
// sum if it is wanted.
template <bool kSums>
int32_t QuantizeRow(const float* x, int64_t inputs, float inverse, int8_t* to) {
  // Packing works within parts of 16 bytes, of which there are four of four inputs.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512 factor = _mm512_set1_ps(inverse);
  __m512i sum = _mm512_setzero_si512();
  for (int64_t k = 0; k < inputs; k += kTileInputs, to += kTileBytes) {
    __m512i q[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      q[i] = QuantizeInputs(x + k + i * 16, inputs - k - i * 16, factor);
      if (inverse == 0) q[i] = _mm512_setzero_si512();  // infinity times 0 is no number
      if (kSums) sum = _mm512_add_epi32(sum, q[i]);
    }
    const __m512i bytes =
        _mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
    _mm512_store_si512(to, _mm512_permutexvar_epi32(order, bytes));
  }
  return kSums ? _mm512_reduce_add_epi32(sum) : 0;
}

template <bool kSums>
void QuantizeBand(const QuantizeArgs& args) {
  for (int64_t index = args.begin; index < args.end; ++index) {
    const Segment& segment = args.segments[index];
    int8_t* codes = args.block.codes + segment.tile_begin * kTileBytes;
    for (int64_t row = 0; row < kTileRows; ++row) {
      const bool is_row = row < args.block.rows;
      const float* x = args.x + (is_row ? row * args.x_stride + segment.begin : 0);
      const RowScale scale = is_row ? ScaleOf(x, segment.inputs) : RowScale{0, 0};
      int8_t* const to = codes + row * kTileInputs;
      const int32_t sum = QuantizeRow<kSums>(x, segment.inputs, scale.inverse, to);
      const float x_sum = scale.scale * static_cast<float>(sum);
      args.block.scales[index * kTileRows + row] = scale.scale;
      __builtin_memcpy(&args.block.sums[index * kTileRows + row], &x_sum, 4);
    }
  }
}

}  // namespace

// Symmetric weights read no sums.
void QuantizeAmx(const QuantizeArgs& args) {
  if (args.code_offset == 0) {
    QuantizeBand<true>(args);
  } else {
    QuantizeBand<false>(args);
  }
}

}  // namespace octet::kernels
