// The two inner products of attention over an int8 cache: codes of queries with keys, codes of
// weights with values. Both are sums over fours as they lie in the cache (kv_layout.h): four codes
// of each of 64 neighbours, times four codes of a vector. Neighbours are the tokens of a block or
// 64 of its values; past head_dim values are read all the same, up to 63, whose sums go unused;
// what lies there is the cache's own.
//
// Sums are exact in int32 (modulo 2^32 on the way), so their order, and with it the family and the
// number of vectors at a time, can not show. The codes of a query are 16 bits, those of a weight 15
// (attention_int8.h); keys are 128 more than they are, which is taken back.
#pragma once

#include "kernels/attention/attention_softmax.h"

namespace octet::kernels {
namespace {

constexpr int64_t kFour = 4;
constexpr int64_t kNeighbours = 64;
static_assert(kNeighbours == kKvBlockTokens && kNeighbours == kSumDims);

struct Fours {
  const uint8_t* at = nullptr;  // neighbour after neighbour; signed for values
  int64_t stride = 0;           // bytes to the next four
  int64_t count = 0;
};

OCTET_INLINE Fours KeyFours(const AttentionTile& tile, const VisibleBlock& block) {
  return {reinterpret_cast<const uint8_t*>(block.data + tile.k_data), kNeighbours * kFour,
          (tile.head_dim + kFour - 1) / kFour};
}
// Of values [c, c + 64) and the tokens that some vector sees.
OCTET_INLINE Fours ValueFours(const AttentionTile& tile, const VisibleBlock& block, int64_t c) {
  const int64_t first = block.tokens.begin / kFour, stride = tile.head_dim * kFour;
  return {reinterpret_cast<const uint8_t*>(block.data + tile.v_data) + first * stride + c * kFour,
          stride, (block.tokens.end + kFour - 1) / kFour - first};
}
// What a vector's sums over keys begin with. The sum of codes is NaN where a query is not finite.
OCTET_INLINE int32_t KeyStart(const AttentionTile& tile, int64_t vector) {
  const float sum = tile.q_sum[vector];
  return sum == sum ? static_cast<int32_t>(sum) * -128 : 0;
}

#if !defined(__AVX512F__)

// Codes of queries and weights as 16-bit words, the latter [64].
void PlaceQueries(const AttentionTile&) {}
OCTET_INLINE int16_t* WeightsOf(const AttentionTile& tile, int64_t vector) {
  return reinterpret_cast<int16_t*>(tile.weights) + vector * kKvBlockTokens;
}
OCTET_INLINE void PlaceWeights(const AttentionTile& tile, int64_t vector,
                               const F32x16 (&weights)[kBlockParts], F32x16 scale) {
  const F32x16 round = Splat(8388608.0f);  // 2^23: the sum's low bits are the integer
#pragma GCC unroll 4
  for (int i = 0; i < kBlockParts; ++i) {
    StoreLowShorts(WeightsOf(tile, vector) + i * kLanes, weights[i] * scale + round);
  }
}

struct FourFactors {
  const int16_t* words = nullptr;  // four for each four of codes
  int32_t start = 0;
};
OCTET_INLINE FourFactors QueryFactors(const AttentionTile& tile, int64_t vector) {
  return {tile.q_codes + vector * tile.padded_dim, KeyStart(tile, vector)};
}
OCTET_INLINE FourFactors WeightFactors(const AttentionTile& tile, int64_t vector, int64_t four) {
  return {WeightsOf(tile, vector) + four * kFour, 0};
}

#endif

}  // namespace
}  // namespace octet::kernels

#if defined(__AVX512F__)
#include "kernels/attention/attention_codes_avx512.h"
#elif defined(__AVX2__)
#include "kernels/attention/attention_codes_avx2.h"
#else
#include "kernels/attention/attention_codes_plain.h"
#endif

#if !defined(__AMX_INT8__)

namespace octet::kernels {
namespace {

// What attention_int8.h needs of a family; attention_tiles.h has it for the tile unit.

void BeginSplit(const TileBundle&) {}

OCTET_INLINE FetchPace PaceOf(const AttentionTile& tile, const VisibleBlock& block) {
  const int64_t lines = tile.head_bytes / kBufferAlignment;
  const int64_t vectors = block.end - block.begin;
  const int64_t groups = (vectors + kVectorsAtOnce - 1) / kVectorsAtOnce;
  const int64_t score = groups * FetchPlaces(KeyFours(tile, block).count);
  const int64_t values =
      groups * tile.padded_dim / kSumDims * FetchPlaces(ValueFours(tile, block, 0).count);
  return {lines * 7 / 16 / score + 1, lines / 16 / vectors, lines * 3 / 8 / values + 1};
}

// The dots of all vectors of the block with its keys.
void ScoreBlock(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines) {
  const Fours keys = KeyFours(tile, block);
  ForEachGroup(block.begin, block.end, [&](int64_t v, auto count) {
    FourFactors vectors[count.value];
    for (int r = 0; r < count.value; ++r) vectors[r] = QueryFactors(tile, v + r);
    SumFours<count.value, true>(keys, vectors, ahead, lines, tile.dots + v * kKvBlockTokens);
  });
}

// sink(vector, sums [64], first value) for all vectors and values of the block.
template <typename Sink>
void SumBlock(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines,
              const Sink& sink) {
  for (int64_t c = 0; c < tile.head_dim; c += kSumDims) {
    const Fours values = ValueFours(tile, block, c);
    ForEachGroup(block.begin, block.end, [&](int64_t v, auto count) {
      FourFactors vectors[count.value];
      for (int r = 0; r < count.value; ++r) {
        vectors[r] = WeightFactors(tile, v + r, block.tokens.begin / kFour);
      }
      alignas(64) int32_t sums[count.value * kSumDims];
      SumFours<count.value, false>(values, vectors, ahead, lines, sums);
      for (int r = 0; r < count.value; ++r) sink(v + r, sums + r * kSumDims, c);
    });
  }
}

}  // namespace
}  // namespace octet::kernels

#endif
