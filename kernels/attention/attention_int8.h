// Attention over a block of an int8 cache, codes times codes. Queries are rounded to 1 / 32512 of
// their greatest value, weights times the scales of their values to 1 / 32767 of the greatest in
// the block: 2^-16 and less of what is greatest. All sums of products are exact
// (attention_codes.h); a token that a vector does not see has weight 0, so that what lies there
// does not matter.
#pragma once

#if defined(__AVX512F__)
#include "kernels/attention/attention_fours.h"
#endif
#if defined(__AMX_INT8__)
#include "kernels/attention/attention_tiles.h"
#else
#include "kernels/attention/attention_codes.h"
#endif

namespace octet::kernels {
namespace {

// Two bytes, of which the lower is signed: 32512 = 127 * 256. The tile unit takes them apart.
constexpr float kQueryCodeMax = 32512.0f;
constexpr float kWeightCodeMax = 32767.0f;
constexpr float kSmallest = 1e-30f;  // magnitudes below count as 0, lest an inverse overflow
// Added to a number below 2^22, this leaves its integer in the low bits.
constexpr float kRoundSigned = 12582912.0f;  // 1.5 * 2^23

// The codes of one query and their sum, which is NaN where a value is not finite, as all scores
// then are; returns the step from code to value.
OCTET_INLINE float QuantizeQuery(const float* source, int64_t head_dim, int64_t padded_dim,
                                 int16_t* codes, float* code_sum) {
  const auto load = [&](int64_t c) {
    const int64_t rest = head_dim - c;
    return rest >= kLanes ? LoadLanes(source + c) : LoadFirst(source + c, rest > 0 ? rest : 0);
  };
  F32x16 most = Splat(0.0f);
  for (int64_t c = 0; c < head_dim; c += kLanes) {
    const F32x16 x = load(c);
    most = Max(Max(x, Splat(0.0f) - x), most);
  }
  const float max = ReduceMax(most);
  const float inverse = max > kSmallest ? kQueryCodeMax / max : 0.0f;  // infinity times 0 is NaN
  F32x16 sum = Splat(0.0f);
  for (int64_t c = 0; c < padded_dim; c += kLanes) {
    const F32x16 rounded = load(c) * Splat(inverse) + Splat(kRoundSigned);
    StoreLowShorts(codes + c, rounded);
    sum = sum + (rounded - Splat(kRoundSigned));  // exact: below 2^24
  }
  *code_sum = ReduceSum(sum);
  return inverse == 0.0f ? 0.0f : max * (1 / kQueryCodeMax);
}

void PrepareCodes(const AttentionTile& tile) {
  const auto source_of = [&](int64_t vector) {
    return tile.source + vector / tile.heads * tile.source_stride +
           vector % tile.heads * tile.head_dim;
  };
  for (int64_t vector = 0; vector < tile.vectors(); ++vector) {
    constexpr int64_t kVectorsAhead = 6;  // rows lie far apart
    if (vector + kVectorsAhead < tile.vectors()) {
      const auto* next = reinterpret_cast<const std::byte*>(source_of(vector + kVectorsAhead));
      for (int64_t at = 0; at < tile.head_dim * 4; at += kBufferAlignment) {
        __builtin_prefetch(next + at);
      }
    }
    const float* source = source_of(vector);
    const float step = QuantizeQuery(source, tile.head_dim, tile.padded_dim,
                                     tile.q_codes + vector * tile.padded_dim, tile.q_sum + vector);
    tile.q_step[vector] = step * tile.scale;
  }
  PlaceQueries(tile);
}

// The scores of one vector from its dots.
OCTET_INLINE void ScoresOf(const AttentionTile& tile, int64_t vector, F32x16 (&s)[kBlockParts]) {
  const int32_t* dots = tile.dots + vector * kKvBlockTokens;
  const F32x16 q_sum = Splat(tile.q_sum[vector]);
  const F32x16 q_step = Splat(tile.q_step[vector]);
#pragma GCC unroll 4
  for (int i = 0; i < kBlockParts; ++i) {
    const float* k_scale = tile.scales + i * kLanes;
    s[i] = (LoadLanes(k_scale) * LoadLanes(dots + i * kLanes) +
            LoadLanes(k_scale + kKvBlockTokens) * q_sum) *
           q_step;
  }
}

// Turns the dots of one vector into codes of weights and updates its state but for the values.
template <bool kWhole>
OCTET_INLINE void WeighCodes(const AttentionTile& tile, int64_t vector, TokenRange tokens,
                             float* state, Ahead& ahead, int64_t lines) {
  F32x16 s[kBlockParts];
  ScoresOf(tile, vector, s);
  const BlockWeights weights = Weigh<kWhole>(tile, tokens, s, state, ahead, lines);
  const F32x16* w = weights.lanes;
  const float most = ReduceMax(Max(Max(w[0], w[1]), Max(w[2], w[3])));
  const bool none = !(most > kSmallest);
  const F32x16 inverse = Splat(none ? 0.0f : kWeightCodeMax / most);
  ahead.Fetch(lines);
  PlaceWeights(tile, vector, weights.lanes, inverse);
  tile.factors[vector] = weights.factor;
  tile.weight_step[vector] = none ? 0.0f : most * (1 / kWeightCodeMax);
}

#if defined(__AVX512F__)
// Of vectors [first, first + 4), which see the whole block. Fetches 12 times.
OCTET_INLINE void WeighFourCodes(const AttentionTile& tile, int64_t first, float* states,
                                 Ahead& ahead, int64_t lines) {
  FourWeights weights;
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    ScoresOf(tile, first + r, weights.lanes[r]);
    ahead.Fetch(lines);
  }
  WeighFour(tile, states, tile.state_floats(), ahead, lines, &weights);
  const F32x16 most = weights.greatest;
  const Mask16 some = Less(Splat(kSmallest), most);
  const F32x16 inverse = Select(some, Splat(kWeightCodeMax) / most, Splat(0.0f));
  const F32x16 step = Select(some, most * Splat(1 / kWeightCodeMax), Splat(0.0f));
  ForFour([&](auto r) {
    const F32x16 scale = SplatQuarter<r.value>(inverse);
    PlaceWeights(tile, first + r.value, weights.lanes[r.value], scale);
    ahead.Fetch(lines);
  });
  StoreFours(tile.factors + first, weights.factor);
  StoreFours(tile.weight_step + first, step);
}
#endif

// Weighs vectors from `begin` on, four at a time, as long as four see the whole block; returns the
// first that is left.
#if defined(__AVX512F__)
OCTET_INLINE int64_t WeighFours(const AttentionTile& tile, const VisibleBlock& block, float* states,
                                Ahead& ahead, int64_t lines) {
  int64_t v = block.begin;
  for (; v + 4 <= block.end; v += 4) {  // ranges move forward from row to row
    if (RangeInBlock(tile, v, block.base).end != kKvBlockTokens) break;
    if (RangeInBlock(tile, v + 3, block.base).begin != 0) break;
    WeighFourCodes(tile, v, states + v * tile.state_floats(), ahead, lines);
  }
  return v;
}
#else
OCTET_INLINE int64_t WeighFours(const AttentionTile&, const VisibleBlock& block, float*, Ahead&,
                                int64_t) {
  return block.begin;
}
#endif

// Values [c, c + 64) of one vector.
OCTET_INLINE void AddSums(const AttentionTile& tile, int64_t vector, const int32_t* sums, int64_t c,
                          float* states) {
  const F32x16 factor = Splat(tile.factors[vector]);
  const F32x16 step = Splat(tile.weight_step[vector]);
  float* acc = states + vector * tile.state_floats() + kStateHead + c;
#pragma GCC unroll 4
  for (int64_t i = 0; i < kSumDims; i += kLanes) {
    StoreLanes(acc + i, LoadLanes(acc + i) * factor + LoadLanes(sums + i) * step);
  }
}

// In the way that was fastest for so many vectors (README): in pairs, from front to back, else
// scales first.
#if defined(__AVX512F__) && !defined(__AMX_INT8__)
constexpr int64_t kPairsFrom = kFewVectors + 1, kPairsTo = kTileVectors;
#elif defined(__AVX2__) && !defined(__AVX512F__)
constexpr int64_t kPairsFrom = 1, kPairsTo = 2;
#else
constexpr int64_t kPairsFrom = 1, kPairsTo = 0;
#endif
OCTET_INLINE Ahead AheadOf(const AttentionTile& tile, const VisibleBlock& block) {
  Ahead ahead(tile, block.next);
  const int64_t vectors = tile.vectors();
  if (vectors >= kPairsFrom && vectors <= kPairsTo) {
    ahead.InPairs();
  } else if (vectors <= kFewVectors) {
    ahead.FrontToBack(block.data + tile.k_data, vectors == 1 ? 2 : 4);
  }
  return ahead;
}

void AttendInt8Block(const AttentionTile& tile, const VisibleBlock& block, float* states) {
  const FetchPace pace = PaceOf(tile, block);
  Ahead ahead = AheadOf(tile, block);
  ScoreBlock(tile, block, ahead, pace.score);
  LoadScales(tile, block.data);
  for (int64_t v = WeighFours(tile, block, states, ahead, pace.weigh); v < block.end; ++v) {
    const TokenRange tokens = RangeInBlock(tile, v, block.base);
    float* state = states + v * tile.state_floats();
    const bool whole = tokens.begin == 0 && tokens.end == kKvBlockTokens;
    whole ? WeighCodes<true>(tile, v, tokens, state, ahead, pace.weigh)
          : WeighCodes<false>(tile, v, tokens, state, ahead, pace.weigh);
  }
  SumBlock(tile, block, ahead, pace.values,
           [&](int64_t v, const int32_t* sums, int64_t c) { AddSums(tile, v, sums, c, states); });
  ahead.FetchRest();
}

}  // namespace
}  // namespace octet::kernels
