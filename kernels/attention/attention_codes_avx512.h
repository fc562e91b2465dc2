// The products of attention_codes.h with AVX-512. Few vectors: `vpdpwssd` for scores, `vpdpbusd`
// for values, a weight being two bytes. More share a copy of the block's keys, and of its values,
// in which four codes of 16 neighbours (values of a token, tokens of a value) lie side by side, so
// that scores need no sums across lanes; a query is two bytes then, too.
#pragma once

#include "kernels/attention/attention_dots.h"
#include "kernels/attention/attention_softmax.h"

namespace octet::kernels {
namespace {

constexpr int kScoreRows = 4;  // vectors that share a load of a key
constexpr int kSumRows = 2;    // and of a value

// Weights are bytes: of eight vectors the high ones [8, 64], then the low ones.
constexpr int64_t kLowWeights = 512;
OCTET_INLINE uint8_t* WeightsOf(uint8_t* weights, int64_t vector) {
  return weights + vector / 8 * 1024 + vector % 8 * 64;
}
// The codes of tokens [16 i, 16 i + 16), which are the two low bytes of each lane's bits.
OCTET_INLINE void StoreWeights(uint8_t* weights, int i, F32x16 codes) {
  const __m512i bits = _mm512_castps_si512(codes.v);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(weights + 16 * i),
                   _mm512_cvtepi32_epi8(_mm512_srli_epi32(bits, 8)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(weights + kLowWeights + 16 * i),
                   _mm512_cvtepi32_epi8(bits));
}

// dots[r * 64 + t] for R vectors and 16 tokens; queries [R, q_stride].
template <int R>
OCTET_INLINE void ScoreCodes(const int16_t* q, int64_t q_stride, int64_t dim, const int8_t* k,
                             Ahead& ahead, int64_t lines, int32_t* dots) {
  __m512i quarters[R][4];
#pragma GCC unroll 4
  for (int t = 0; t < 4; ++t) {
    __m512i sum[R][4];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sum[r][i] = _mm512_setzero_si512();
    }
    ahead.Fetch(lines);
    for (int64_t c = 0; c < dim; c += 32) {
      __m512i key[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        key[i] = _mm512_cvtepi8_epi16(
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(k + (4 * i + t) * dim + c)));
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const __m512i query = _mm512_loadu_si512(q + r * q_stride + c);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) sum[r][i] = _mm512_dpwssd_epi32(sum[r][i], query, key[i]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      quarters[r][t] = FoldQuad(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const __m512i* x = quarters[r];
    _mm512_storeu_si512(dots + r * kKvBlockTokens, FoldQuarters(x[0], x[1], x[2], x[3]));
  }
}

// sum += unsigned bytes times signed ones, fours of neighbours together. As an instruction, because
// GCC 12 moves the accumulators of the intrinsic to memory.
OCTET_INLINE void AddProducts(__m512i& sum, __m512i bytes, __m512i signed_bytes) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(signed_bytes));
}

// Word 4 L + i of x[j] and word 4 L + j of x[i] change places.
OCTET_INLINE void TransposeInQuarters(__m512i (&x)[4]) {
  const __m512i ab_low = _mm512_unpacklo_epi32(x[0], x[1]);
  const __m512i ab_high = _mm512_unpackhi_epi32(x[0], x[1]);
  const __m512i cd_low = _mm512_unpacklo_epi32(x[2], x[3]);
  const __m512i cd_high = _mm512_unpackhi_epi32(x[2], x[3]);
  x[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
  x[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
  x[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
  x[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
}
// Word 4 L + i of x[j] becomes word 16 L + 4 j + i of all four.
OCTET_INLINE void TransposeQuarters(__m512i (&x)[4]) {
  const __m512i a = _mm512_shuffle_i32x4(x[0], x[1], 0x44);
  const __m512i b = _mm512_shuffle_i32x4(x[2], x[3], 0x44);
  const __m512i c = _mm512_shuffle_i32x4(x[0], x[1], 0xee);
  const __m512i d = _mm512_shuffle_i32x4(x[2], x[3], 0xee);
  x[0] = _mm512_shuffle_i32x4(a, b, 0x88);
  x[1] = _mm512_shuffle_i32x4(a, b, 0xdd);
  x[2] = _mm512_shuffle_i32x4(c, d, 0x88);
  x[3] = _mm512_shuffle_i32x4(c, d, 0xdd);
}

// 64 values of four tokens, so that the four of a value are neighbours: word 4 L + i of x[j] is
// value 16 L + 4 j + i.
OCTET_INLINE void InterleaveTokens(const int8_t* v, int64_t stride, __m512i (&x)[4]) {
  __m512i row[4];
#pragma GCC unroll 4
  for (int t = 0; t < 4; ++t) row[t] = _mm512_loadu_si512(v + t * stride);
  const __m512i ab_low = _mm512_unpacklo_epi8(row[0], row[1]);
  const __m512i ab_high = _mm512_unpackhi_epi8(row[0], row[1]);
  const __m512i cd_low = _mm512_unpacklo_epi8(row[2], row[3]);
  const __m512i cd_high = _mm512_unpackhi_epi8(row[2], row[3]);
  x[0] = _mm512_unpacklo_epi16(ab_low, cd_low);
  x[1] = _mm512_unpackhi_epi16(ab_low, cd_low);
  x[2] = _mm512_unpacklo_epi16(ab_high, cd_high);
  x[3] = _mm512_unpackhi_epi16(ab_high, cd_high);
}

// 64 sums of products with high and with low bytes, as InterleaveTokens leaves them or, kInOrder,
// as they are wanted.
template <bool kInOrder>
OCTET_INLINE void StoreSums(int32_t* to, const __m512i (&high)[4], const __m512i (&low)[4]) {
  __m512i sum[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) sum[j] = _mm512_add_epi32(_mm512_slli_epi32(high[j], 8), low[j]);
  if (!kInOrder) TransposeQuarters(sum);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) _mm512_storeu_si512(to + j * kLanes, sum[j]);
}

// sums[r * 64 + d] of vectors `first`.. over tokens [begin, end) and what else shares their fours.
template <int R>
OCTET_INLINE void SumCodes(uint8_t* weights, int64_t first, const int8_t* v, int64_t stride,
                           int64_t begin, int64_t end, Ahead& ahead, int64_t lines, int32_t* sums) {
  __m512i high[R][4], low[R][4];
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) high[r][j] = low[r][j] = _mm512_setzero_si512();
  }
  for (int64_t t = begin / 4 * 4; t < end; t += 4) {
    ahead.Fetch(lines);
    __m512i x[4];
    InterleaveTokens(v + t * stride, stride, x);
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      int32_t bytes[2];
      const uint8_t* weight = WeightsOf(weights, first + r) + t;
      std::memcpy(&bytes[0], weight, 4);
      std::memcpy(&bytes[1], weight + kLowWeights, 4);
      const __m512i of_high = _mm512_set1_epi32(bytes[0]);
      const __m512i of_low = _mm512_set1_epi32(bytes[1]);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        high[r][j] = _mm512_dpbusd_epi32(high[r][j], of_high, x[j]);
        low[r][j] = _mm512_dpbusd_epi32(low[r][j], of_low, x[j]);
      }
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) StoreSums<false>(sums + r * kSumDims, high[r], low[r]);
}

#if !defined(__AMX_INT8__)

// ---- a copy of a block, for more vectors

constexpr int64_t kCopyLine = 4 * 64;  // bytes: four codes of 64 neighbours

// Threes of the block's vectors, and twos rather than one alone.
template <typename F>
OCTET_INLINE void ForEachOfCopy(const VisibleBlock& block, const F& f) {
  int64_t v = block.begin;
  for (; block.end - v > 4 || block.end - v == 3; v += 3) f(v, std::integral_constant<int, 3>());
  for (; v < block.end; v += 2) f(v, std::integral_constant<int, 2>());
}
// From so many vectors on they share a copy. What it saves does not grow with head_dim, as it does.
OCTET_INLINE int64_t CopyVectors(const AttentionTile& tile) { return tile.head_dim > 64 ? 5 : 3; }
OCTET_INLINE bool CopiesBlock(const AttentionTile& tile, const VisibleBlock& block) {
  return block.end - block.begin >= CopyVectors(tile);
}
OCTET_INLINE FetchSteps StepsOfCopy(const AttentionTile& tile, int64_t vectors) {
  const int64_t threes = (vectors + 2) / 3;
  return {(tile.head_dim + 15) / 16 + threes,
          tile.padded_dim / kSumDims * (kKvBlockTokens / 4 + threes)};
}
// Lines of all keys, one for four values of each token, [padded_dim / 4][64][4].
OCTET_INLINE uint8_t* KeyLines(const AttentionTile& tile) {
  return reinterpret_cast<uint8_t*>(tile.wide);
}
// Lines of 64 values, one for four tokens [16][64][4].
OCTET_INLINE uint8_t* ValueLines(const AttentionTile& tile) {
  return KeyLines(tile) + tile.padded_dim / 4 * kCopyLine;
}
// Of a vector's codes the high bytes [padded_dim], then the low ones, which are signed.
OCTET_INLINE int8_t* QueryBytes(const AttentionTile& tile, int64_t vector) {
  return tile.q_tiles + vector * 2 * tile.padded_dim;
}

OCTET_INLINE void PlaceQueries(const AttentionTile& tile) {
  if (tile.vectors() < CopyVectors(tile)) return;
  for (int64_t v = 0; v < tile.vectors(); ++v) {
    const int16_t* codes = tile.q_codes + v * tile.padded_dim;
    int8_t* to = QueryBytes(tile, v);
    for (int64_t c = 0; c < tile.padded_dim; c += 32, to += 32) {
      const __m512i x = _mm512_loadu_si512(codes + c);
      const __m512i high = _mm512_srai_epi16(_mm512_add_epi16(x, _mm512_set1_epi16(128)), 8);
      const auto store = [](int8_t* at, __m512i bytes) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), _mm512_cvtepi16_epi8(bytes));
      };
      store(to, high);
      store(to + tile.padded_dim, x);
    }
  }
}

// What a vector brings to a sum over lines: four bytes for each.
struct LineFactors {
  const void* high = nullptr;  // bytes, times 256
  const void* low = nullptr;
  int32_t start = 0;
};

// to[r * to_stride + neighbour] of R vectors over `count` lines. kKeys: lines are unsigned and the
// vectors' bytes signed, and neighbours are in order; else lines are signed and lie as
// InterleaveTokens leaves them. A function of its own, as GCC 12 keeps the sums in memory
// otherwise.
template <int R, bool kKeys>
[[gnu::noinline]] void SumLines(const uint8_t* lines, int64_t count,
                                const LineFactors (&vectors)[R], int32_t* to, int64_t to_stride) {
  __m512i high[R][4], low[R][4];
  const void *high_bytes[R], *low_bytes[R];
#pragma GCC unroll 3
  for (int r = 0; r < R; ++r) {
    high_bytes[r] = vectors[r].high;
    low_bytes[r] = vectors[r].low;
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      high[r][j] = _mm512_setzero_si512();
      low[r][j] = _mm512_set1_epi32(vectors[r].start);
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    __m512i x[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) x[j] = _mm512_load_si512(lines + i * kCopyLine + j * 64);
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) {
      const auto splat = [i](const void* bytes) {
        int32_t four;
        std::memcpy(&four, static_cast<const char*>(bytes) + i * 4, sizeof(four));
        return _mm512_set1_epi32(four);
      };
      const __m512i h = splat(high_bytes[r]), l = splat(low_bytes[r]);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        AddProducts(high[r][j], kKeys ? x[j] : h, kKeys ? h : x[j]);
        AddProducts(low[r][j], kKeys ? x[j] : l, kKeys ? l : x[j]);
      }
    }
  }
#pragma GCC unroll 3
  for (int r = 0; r < R; ++r) StoreSums<kKeys>(to + r * to_stride, high[r], low[r]);
}

// Sixteen values of each of the block's tokens; keys become unsigned, 128 more.
OCTET_INLINE void CopyKeys(const int8_t* k, int64_t dim, uint8_t* lines) {
#pragma GCC unroll 4
  for (int group = 0; group < 4; ++group) {
    __m512i x[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {  // quarter L: token 4 L + i
      const auto load = [&](int quarter) {
        return _mm_loadu_si128(
            reinterpret_cast<const __m128i*>(k + (16 * group + 4 * quarter + i) * dim));
      };
      x[i] = _mm512_castsi128_si512(load(0));
      x[i] = _mm512_inserti32x4(x[i], load(1), 1);
      x[i] = _mm512_inserti32x4(x[i], load(2), 2);
      x[i] = _mm512_inserti32x4(x[i], load(3), 3);
    }
    TransposeInQuarters(x);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      _mm512_store_si512(lines + j * kCopyLine + group * 64,
                         _mm512_xor_si512(x[j], _mm512_set1_epi8(-128)));
    }
  }
}

// The scores of a block of which several vectors share a copy; false where they are few.
bool ScoreCopied(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead,
                 int64_t lines) {
  if (!CopiesBlock(tile, block)) return false;
  const auto* k = reinterpret_cast<const int8_t*>(block.data + tile.k_data);
  for (int64_t c = 0; c < tile.head_dim; c += 16) {
    ahead.Fetch(lines);
    CopyKeys(k + c, tile.head_dim, KeyLines(tile) + c / 4 * kCopyLine);
  }
  ForEachOfCopy(block, [&](int64_t v, auto count) {
    constexpr int R = count.value;
    ahead.Fetch(lines);
    LineFactors vectors[R];
    for (int r = 0; r < R; ++r) {
      const int8_t* bytes = QueryBytes(tile, v + r);
      // Takes back what keys have too much. The sum itself fits, what it passes through need not.
      const auto sum = static_cast<uint32_t>(_mm_cvtss_si32(_mm_set_ss(tile.q_sum[v + r])));
      vectors[r] = {bytes, bytes + tile.padded_dim, static_cast<int32_t>(sum * -128u)};
    }
    SumLines<R, true>(KeyLines(tile), (tile.head_dim + 3) / 4, vectors,
                      tile.dots + v * kKvBlockTokens, kKvBlockTokens);
  });
  return true;
}

// The same for its values; sink as of SumBlock.
template <typename Sink>
bool SumCopied(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines,
               const Sink& sink) {
  if (!CopiesBlock(tile, block)) return false;
  const auto* values = reinterpret_cast<const int8_t*>(block.data + tile.v_data);
  const int64_t begin = block.tokens.begin / 4 * 4, end = block.tokens.end;
  uint8_t* const copy = ValueLines(tile);
  for (int64_t c = 0; c < tile.head_dim; c += kSumDims) {
    for (int64_t t = begin; t < end; t += 4) {
      ahead.Fetch(lines);
      __m512i x[4];
      InterleaveTokens(values + t * tile.head_dim + c, tile.head_dim, x);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) _mm512_store_si512(copy + t / 4 * kCopyLine + j * 64, x[j]);
    }
    ForEachOfCopy(block, [&](int64_t v, auto count) {
      constexpr int R = count.value;
      ahead.Fetch(lines);
      LineFactors vectors[R];
      for (int r = 0; r < R; ++r) {
        const uint8_t* bytes = WeightsOf(tile.weights, v + r) + begin;
        vectors[r] = {bytes, bytes + kLowWeights, 0};
      }
      alignas(64) int32_t sums[R * kSumDims];
      SumLines<R, false>(copy + begin / 4 * kCopyLine, (end - begin + 3) / 4, vectors, sums,
                         kSumDims);
      for (int r = 0; r < R; ++r) sink(v + r, sums + r * kSumDims, c);
    });
  }
  return true;
}

#endif

}  // namespace
}  // namespace octet::kernels
