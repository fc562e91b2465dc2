// The products of attention_codes.h on the tile unit (AMX): the same integers. A code's two bytes
// take two columns (of queries) or rows (of weights).
//   scores       [16 tokens, 16] = keys, as they lie, x queries [64 values, 8 high bytes | 8 low]
//   many values  [8 high | 8 low, 16] = weights [16, 64 tokens] x values, four tokens interleaved
//   few values   [2 vectors: 4 high | 4 low, 16] = weights [16, 16 tokens] x values, as they lie:
//                row i of four has a weight in byte i of a token's word, so its sums are those of
//                values i, 4 + i, ..; three of four products are with zeros
#pragma once

#include "kernels/attention/attention_codes.h"

namespace octet::kernels {
namespace {

constexpr int64_t kUnitBytes = 1024;
constexpr int64_t kStepInputs = 64;  // that one instruction multiplies
// Up to so many vectors read the values as they lie.
constexpr int64_t kInPlaceVectors = 4;
constexpr bool SumsInPlace(int64_t vectors) { return vectors <= kInPlaceVectors; }

// Codes [vectors, padded_dim] to tiles [vectors / 8][padded_dim / 64], word k of a row being values
// 4 k .. 4 k + 3 of all columns. Columns that stand for no vector hold anything.
void PlaceQueries(const AttentionTile& tile) {
  const __m512i rows =
      _mm512_slli_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 6);
  const __m512i half = _mm512_set1_epi16(128);
  for (int64_t v = 0; v < tile.vectors(); ++v) {
    const int16_t* codes = tile.q_codes + v * tile.padded_dim;
    int8_t* to = tile.q_tiles + v / kUnitVectors * tile.padded_dim * 16 + v % kUnitVectors * 4;
    for (int64_t c = 0; c < tile.padded_dim; c += kStepInputs, to += kUnitBytes) {
      const __m512i a = _mm512_loadu_si512(codes + c);
      const __m512i b = _mm512_loadu_si512(codes + c + 32);
      const auto join = [](__m512i x, __m512i y) {  // low bytes of 16-bit words
        return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(x)),
                                  _mm512_cvtepi16_epi8(y), 1);
      };
      const auto high = [&](__m512i x) { return _mm512_srai_epi16(_mm512_add_epi16(x, half), 8); };
      _mm512_i32scatter_epi32(to, rows, join(high(a), high(b)), 1);
      _mm512_i32scatter_epi32(to + 32, rows, join(a, b), 1);
    }
  }
}

// Four columns of 16 rows, [16, 16] int32 at `sums`, high bytes in columns `first`.. and low ones
// eight further, to dots[i * 64 + row] of column i.
OCTET_INLINE void TakeFourColumns(const int32_t* sums, int64_t first, int32_t* dots) {
  __m512i x[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    const auto quarters = [&](const int32_t* from) {
      const auto load = [&](int row) {
        return _mm_load_si128(reinterpret_cast<const __m128i*>(from + (r + row) * 16));
      };
      __m512i all = _mm512_castsi128_si512(load(0));
      all = _mm512_mask_broadcast_i32x4(all, 0x00f0, load(4));
      all = _mm512_mask_broadcast_i32x4(all, 0x0f00, load(8));
      return _mm512_mask_broadcast_i32x4(all, 0xf000, load(12));
    };
    x[r] = _mm512_add_epi32(_mm512_slli_epi32(quarters(sums + first), 8),
                            quarters(sums + first + kUnitVectors));
  }
  TransposeInQuarters(x);
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) _mm512_storeu_si512(dots + v * kKvBlockTokens, x[v]);
}

// Eight vectors' dots with the 64 keys of a block. Tiles 0..3 are sums of 16 tokens each.
void ScoreEight(const int8_t* q, int64_t padded_dim, const int8_t* k, int64_t dim, Ahead& ahead,
                int64_t lines, int64_t vectors, int32_t* dots) {
  alignas(64) int32_t sums[kKvBlockTokens * 16];
  asm volatile("" ::: "memory");  // GCC's intrinsics do not say that they read memory
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t c = 0; c < padded_dim; c += kStepInputs, q += kUnitBytes) {
    _tile_loadd(6, q, 64);
    _tile_loadd(4, k + c, dim);
    _tile_dpbssd(0, 4, 6);
    ahead.Fetch(lines);
    _tile_loadd(5, k + c + 16 * dim, dim);
    _tile_dpbssd(1, 5, 6);
    ahead.Fetch(lines);
    _tile_loadd(4, k + c + 32 * dim, dim);
    _tile_dpbssd(2, 4, 6);
    ahead.Fetch(lines);
    _tile_loadd(5, k + c + 48 * dim, dim);
    _tile_dpbssd(3, 5, 6);
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
  _tile_stored(2, sums + 512, 64);
  _tile_stored(3, sums + 768, 64);
  asm volatile("" ::: "memory");
  for (int64_t first = 0; first < vectors; first += 4) {
    for (int64_t t = 0; t < kKvBlockTokens; t += 16) {
      ahead.Fetch(lines);
      TakeFourColumns(sums + t * 16, first, dots + first * kKvBlockTokens + t);
    }
  }
}

// Values to tiles [head_dim / 64][4], row q of a tile being tokens 4 q .. 4 q + 3 of 16 values, in
// the order of InterleaveTokens.
void PlaceValues(const AttentionTile& tile, const int8_t* v, Ahead& ahead, int64_t lines) {
  for (int64_t c = 0; c < tile.head_dim; c += kSumDims) {
    int8_t* to = tile.value_tiles + c * kKvBlockTokens;
    for (int64_t t = 0; t < kKvBlockTokens; t += 4, to += 64) {
      ahead.Fetch(lines);
      __m512i x[4];
      InterleaveTokens(v + t * tile.head_dim + c, tile.head_dim, x);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) _mm512_store_si512(to + j * kUnitBytes, x[j]);
    }
  }
}

void ScoreBlock(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines) {
  const auto* k = reinterpret_cast<const int8_t*>(block.data + tile.k_data);
  for (int64_t v = block.begin / kUnitVectors * kUnitVectors; v < block.end; v += kUnitVectors) {
    const int64_t vectors = block.end - v < kUnitVectors ? block.end - v : kUnitVectors;
    ScoreEight(tile.q_tiles + v * tile.padded_dim * 2, tile.padded_dim, k, tile.head_dim, ahead,
               lines, vectors, tile.dots + v * kKvBlockTokens);
  }
  // Not right before they are used: a tile waits until the rows that it is made of have left for
  // the cache.
  if (!SumsInPlace(tile.vectors())) {
    PlaceValues(tile, reinterpret_cast<const int8_t*>(block.data + tile.v_data), ahead, lines / 4);
  }
}

// Four rows of sums and the four of their low bytes, `low` rows further, to int32 [4][16].
OCTET_INLINE void JoinBytes(const int32_t* sums, int64_t low, int64_t stride, __m512i (&x)[4]) {
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    x[j] = _mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(sums + j * stride), 8),
                            _mm512_load_si512(sums + j * stride + low));
  }
}
OCTET_INLINE void StoreSums(__m512i (&x)[4], int32_t* sums) {
  TransposeQuarters(x);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) _mm512_store_si512(sums + j * kLanes, x[j]);
}

// Eight vectors' sums of 64 values. Tiles 0..3 are sums of 16 values each, 6 the weights.
OCTET_INLINE void SumEight(const int8_t* values, int32_t* sums) {
  asm volatile("" ::: "memory");
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, values, 64);
  _tile_dpbusd(0, 6, 4);
  _tile_loadd(5, values + kUnitBytes, 64);
  _tile_dpbusd(1, 6, 5);
  _tile_loadd(4, values + 2 * kUnitBytes, 64);
  _tile_dpbusd(2, 6, 4);
  _tile_loadd(5, values + 3 * kUnitBytes, 64);
  _tile_dpbusd(3, 6, 5);
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
  _tile_stored(2, sums + 512, 64);
  _tile_stored(3, sums + 768, 64);
  asm volatile("" ::: "memory");
}

template <typename Sink>
void SumMany(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines,
             const Sink& sink) {
  alignas(64) int32_t tiles[4 * 256];
  alignas(64) int32_t sums[kSumDims];
  for (int64_t first = block.begin / kUnitVectors * kUnitVectors; first < block.end;
       first += kUnitVectors) {
    asm volatile("" ::: "memory");
    _tile_loadd(6, WeightsOf(tile.weights, first), 64);
    for (int64_t c = 0; c < tile.head_dim; c += kSumDims) {
      ahead.Fetch(lines);
      SumEight(tile.value_tiles + c * kKvBlockTokens, tiles);
      const int64_t end = block.end - first < kUnitVectors ? block.end - first : kUnitVectors;
      for (int64_t v = block.begin > first ? block.begin - first : 0; v < end; ++v) {
        __m512i x[4];
        JoinBytes(tiles + v * 16, kUnitVectors * 16, 256, x);
        StoreSums(x, sums);
        sink(first + v, sums, c);
      }
    }
  }
}

// The codes of tokens [16 i, 16 i + 16), the two low bytes of each lane's bits, to tiles of two
// vectors and 16 tokens each.
OCTET_INLINE void StoreSpreadWeights(uint8_t* weights, int64_t vector, int i, F32x16 codes) {
  uint8_t* to = weights + vector / 2 * 4 * kUnitBytes + i * kUnitBytes + vector % 2 * 512;
  const __m512i mask = _mm512_set1_epi32(0xff);
  const __m512i bits = _mm512_castps_si512(codes.v);
  const __m512i high = _mm512_and_si512(_mm512_srli_epi32(bits, 8), mask);
  const __m512i low = _mm512_and_si512(bits, mask);
#pragma GCC unroll 4
  for (int b = 0; b < 4; ++b) {
    _mm512_store_si512(to + b * 64, _mm512_slli_epi32(high, 8 * b));
    _mm512_store_si512(to + 256 + b * 64, _mm512_slli_epi32(low, 8 * b));
  }
}

// Two vectors' sums of 64 values [token, stride]. Tiles 4..7 are the weights.
OCTET_INLINE void SumTwo(const int8_t* values, int64_t stride, int32_t* sums) {
  asm volatile("" ::: "memory");
  _tile_zero(0);
  _tile_loadd(1, values, stride);
  _tile_dpbusd(0, 4, 1);
  _tile_loadd(2, values + 16 * stride, stride);
  _tile_dpbusd(0, 5, 2);
  _tile_loadd(3, values + 32 * stride, stride);
  _tile_dpbusd(0, 6, 3);
  _tile_loadd(1, values + 48 * stride, stride);
  _tile_dpbusd(0, 7, 1);
  _tile_stored(0, sums, 64);
  asm volatile("" ::: "memory");
}

template <typename Sink>
void SumFew(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines,
            const Sink& sink) {
  const auto* values = reinterpret_cast<const int8_t*>(block.data + tile.v_data);
  alignas(64) int32_t rows[256];
  alignas(64) int32_t sums[kSumDims];
  for (int64_t first = block.begin / 2 * 2; first < block.end; first += 2) {
    const uint8_t* weights = tile.weights + first * 2 * kUnitBytes;
    asm volatile("" ::: "memory");
    _tile_loadd(4, weights, 64);
    _tile_loadd(5, weights + kUnitBytes, 64);
    _tile_loadd(6, weights + 2 * kUnitBytes, 64);
    _tile_loadd(7, weights + 3 * kUnitBytes, 64);
    for (int64_t c = 0; c < tile.head_dim; c += kSumDims) {
      ahead.Fetch(lines);
      SumTwo(values + c, tile.head_dim, rows);
      for (int64_t v = first < block.begin ? block.begin : first; v < first + 2 && v < block.end;
           ++v) {
        ahead.Fetch(lines);
        __m512i x[4];
        JoinBytes(rows + v % 2 * 128, 64, 16, x);
        TransposeInQuarters(x);
        StoreSums(x, sums);
        sink(v, sums, c);
      }
    }
  }
}

OCTET_INLINE FetchPace PaceOf(const AttentionTile& tile, const VisibleBlock& block) {
  // Scores and values take about as long as the softmax of one vector each.
  const int64_t vectors = block.end - block.begin;
  const int64_t lines = tile.head_bytes / kBufferAlignment / (vectors + 2) + 1;
  const int64_t chunks = tile.padded_dim / kStepInputs;
  const int64_t value_steps = SumsInPlace(tile.vectors()) ? 2 * chunks : chunks;
  return {lines / (3 * chunks + 4) + 1, lines / 4, lines / value_steps + 1};
}

OCTET_INLINE void PlaceWeights(const AttentionTile& tile, int64_t vector, int i, F32x16 codes) {
  if (SumsInPlace(tile.vectors())) {
    StoreSpreadWeights(tile.weights, vector, i, codes);
  } else {
    StoreWeights(WeightsOf(tile.weights, vector), i, codes);
  }
}

template <typename Sink>
void SumBlock(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines,
              const Sink& sink) {
  SumsInPlace(tile.vectors()) ? SumFew(tile, block, ahead, lines, sink)
                              : SumMany(tile, block, ahead, lines, sink);
}

}  // namespace
}  // namespace octet::kernels
