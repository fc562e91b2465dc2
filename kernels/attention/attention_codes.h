// The two inner products of attention over an int8 cache: codes of queries with keys, codes of
// weights with values. Sums are exact in int32, so their order, and with it the family and the
// number of vectors at a time, can not show. Rows are read past head_dim, up to 63 bytes, where
// codes of the query are 0 and sums of values go unused; what lies there is the cache's own.
//
// The codes of a query are 16 bits, those of a weight 15 (attention_int8.h).
#pragma once

#if defined(__AVX512F__)
#include "kernels/attention/attention_codes_avx512.h"
#elif defined(__AVX2__)
#include "kernels/attention/attention_codes_avx2.h"
#else
#include "kernels/attention/attention_codes_plain.h"
#endif

namespace octet::kernels {
namespace {

#if !defined(__AMX_INT8__)

// What attention_int8.h needs of a family; attention_tiles.h has it for the tile unit.

#if !defined(__AVX512F__)
void PlaceQueries(const AttentionTile&) {}
#endif

#if !defined(__AVX2__)
// What many vectors could share, they do not: see attention_codes_avx2.h.
OCTET_INLINE bool CopiesBlock(const AttentionTile&, const VisibleBlock&) { return false; }
OCTET_INLINE FetchSteps StepsOfCopy(const AttentionTile&, int64_t) { return {}; }
OCTET_INLINE bool ScoreCopied(const AttentionTile&, const VisibleBlock&, Ahead&, int64_t) {
  return false;
}
template <typename Sink>
OCTET_INLINE bool SumCopied(const AttentionTile&, const VisibleBlock&, Ahead&, int64_t,
                            const Sink&) {
  return false;
}
#endif

OCTET_INLINE FetchPace PaceOf(const AttentionTile& tile, const VisibleBlock& block) {
  const int64_t lines = tile.head_bytes / kBufferAlignment;
  const int64_t vectors = block.end - block.begin;
  FetchSteps steps = {(vectors + kScoreRows - 1) / kScoreRows * (kKvBlockTokens / 4),
                      (vectors + kSumRows - 1) / kSumRows * (tile.padded_dim / 4)};
  if (CopiesBlock(tile, block)) steps = StepsOfCopy(tile, vectors);
  return {lines * 7 / 16 / steps.score + 1, lines / 16 / vectors, lines * 3 / 8 / steps.values + 1};
}

// The dots of all vectors of the block with its keys.
void ScoreBlock(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines) {
  if (ScoreCopied(tile, block, ahead, lines)) return;
  const auto* k = reinterpret_cast<const int8_t*>(block.data + tile.k_data);
  const int64_t dim = tile.head_dim;
  for (int64_t t = block.tokens.begin / kLanes * kLanes; t < block.tokens.end; t += kLanes) {
    ForEachTile<kScoreRows>(block.begin, block.end, [&](int64_t v, auto count) {
      ScoreCodes<count.value>(tile.q_codes + v * tile.padded_dim, tile.padded_dim, dim, k + t * dim,
                              ahead, lines, tile.dots + v * kKvBlockTokens + t);
    });
  }
}

OCTET_INLINE void PlaceWeights(const AttentionTile& tile, int64_t vector, int i, F32x16 codes) {
  StoreWeights(WeightsOf(tile.weights, vector), i, codes);
}

// sink(vector, sums [64], first value) for all vectors and values of the block.
template <typename Sink>
void SumBlock(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines,
              const Sink& sink) {
  if (SumCopied(tile, block, ahead, lines, sink)) return;
  const auto* values = reinterpret_cast<const int8_t*>(block.data + tile.v_data);
  for (int64_t c = 0; c < tile.head_dim; c += kSumDims) {
    ForEachTile<kSumRows>(block.begin, block.end, [&](int64_t v, auto count) {
      alignas(64) int32_t sums[kSumRows * kSumDims];
      SumCodes<count.value>(tile.weights, v, values + c, tile.head_dim, block.tokens.begin,
                            block.tokens.end, ahead, lines, sums);
      for (int r = 0; r < count.value; ++r) sink(v + r, sums + r * kSumDims, c);
    });
  }
}

#endif

}  // namespace
}  // namespace octet::kernels
