// Attention over a block of a bf16 or int4 cache: f32 queries and weights times values in f32 (a
// block of int4, or of more than a few vectors, is widened first).
#pragma once

#include "kernels/attention/attention_dots.h"
#include "kernels/attention/attention_softmax.h"

namespace octet::kernels {
namespace {

// Up to so many vectors read the cache as it is; more widen a block to f32 first.
constexpr int64_t kUnwidenedVectors = kRowsOfTile;

void PrepareFloats(const AttentionTile& tile) {
  const F32x16 scale = Splat(tile.scale);
  for (int64_t vector = 0; vector < tile.vectors(); ++vector) {
    const float* source = tile.source + vector / tile.heads * tile.source_stride +
                          vector % tile.heads * tile.head_dim;
    float* q = tile.q + vector * tile.padded_dim;
    F32x16 sum = Splat(0.0f);
    for (int64_t c = 0; c < tile.padded_dim; c += kLanes) {
      const int64_t rest = tile.head_dim - c;
      const F32x16 lanes = rest >= kLanes ? LoadLanes(source + c) : LoadFirst(source + c, rest);
      StoreLanes(q + c, lanes * scale);
      sum = sum + lanes * scale;
    }
    tile.q_sum[vector] = ReduceSum(sum);
  }
}

// Nibbles to values. A group's pair lies as in the block, token by token.
void WidenRows(const AttentionTile& tile, const std::byte* codes, const std::byte* scales,
               TokenRange tokens) {
  const int64_t groups = (tile.head_dim + kKvInt4Group - 1) / kKvInt4Group;
  float* zeros = tile.groups + kKvBlockTokens * groups;
  const auto* pairs = reinterpret_cast<const uint16_t*>(scales);
  for (int64_t i = tokens.begin * groups / kLanes * kLanes; i < tokens.end * groups; i += kLanes) {
    F32x16 scale, zero;
    LoadF16Pairs(pairs + 2 * i, &scale, &zero);
    StoreLanes(tile.groups + i, scale);
    StoreLanes(zeros + i, zero);
  }
  const auto* row = reinterpret_cast<const uint8_t*>(codes) + tokens.begin * tile.head_dim / 2;
  float* out = tile.wide + tokens.begin * tile.head_dim;
  for (int64_t g = tokens.begin * groups; g < tokens.end * groups; g += groups) {
    for (int64_t c = 0; c < tile.head_dim; c += kLanes, row += kLanes / 2, out += kLanes) {
      const int64_t group = g + c / kKvInt4Group;
      StoreLanes(out, LoadNibbles(row) * Splat(tile.groups[group]) + Splat(zeros[group]));
    }
  }
}

void WidenRows(const AttentionTile& tile, const BF16* rows, TokenRange tokens) {
  const int64_t whole = tile.head_dim / kLanes * kLanes;
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    const BF16* row = rows + t * tile.head_dim;
    float* out = tile.wide + t * tile.padded_dim;
    for (int64_t c = 0; c < whole; c += kLanes) StoreLanes(out + c, LoadLanes(row + c));
    if (whole == tile.head_dim) continue;
    BF16 tail[kLanes] = {};
    std::memcpy(tail, row + whole, static_cast<size_t>(tile.head_dim - whole) * sizeof(BF16));
    StoreLanes(out + whole, LoadLanes(tail));
  }
}

// Raw dots of vectors [begin, end) with the tokens of the block, whole sixteens.
template <typename T>
void Score(const AttentionTile& tile, const T* k, int64_t k_stride, int64_t begin, int64_t end,
           TokenRange tokens) {
  for (int64_t t = tokens.begin / kLanes * kLanes; t < tokens.end; t += kLanes) {
    ForEachTile<kRowsOfTile>(begin, end, [&](int64_t v, auto count) {
      ScoreSixteen<count.value>(tile.q + v * tile.padded_dim, tile.padded_dim, k + t * k_stride,
                                k_stride, tile.scores + v * kKvBlockTokens + t);
    });
  }
}

// Turns the raw dots of one vector into weights and updates its state.
OCTET_INLINE void WeighFloats(const AttentionTile& tile, int64_t vector, TokenRange tokens,
                              float* state, Ahead& ahead) {
  float* scores = tile.scores + vector * kKvBlockTokens;
  const F32x16 q_sum = Splat(tile.q_sum[vector]);
  F32x16 s[kBlockParts];
#pragma GCC unroll 4
  for (int i = 0; i < kBlockParts; ++i) {
    const float* k_scale = tile.scales + i * kLanes;
    s[i] = LoadLanes(k_scale) * LoadLanes(scores + i * kLanes) +
           LoadLanes(k_scale + kKvBlockTokens) * q_sum;
  }
  const BlockWeights weights = Weigh<false>(tile, tokens, s, state, ahead, 0);
#pragma GCC unroll 4
  for (int i = 0; i < kBlockParts; ++i) StoreLanes(scores + i * kLanes, weights.lanes[i]);
  if (weights.factor == 1.0f) return;
  float* acc = state + kStateHead;
  for (int64_t c = 0; c < tile.padded_dim; c += kLanes) {
    StoreLanes(acc + c, LoadLanes(acc + c) * Splat(weights.factor));
  }
}

// Adds the weighted values of the block to vectors [begin, end). Tokens that all vectors of a
// register tile see are added together; those before and after, vector by vector, in order.
template <typename T>
void Accumulate(const AttentionTile& tile, const T* v, int64_t v_stride, int64_t base,
                int64_t begin, int64_t end, float* states) {
  const int64_t stride = tile.state_floats();
  ForEachTile<kRowsOfTile>(begin, end, [&](int64_t first, auto count) {
    constexpr int kRows = count.value;
    const int64_t shared_begin = RangeInBlock(tile, first + kRows - 1, base).begin;
    const int64_t first_end = RangeInBlock(tile, first, base).end;
    const int64_t shared_end = first_end > shared_begin ? first_end : shared_begin;
    const auto single = [&](int64_t vector, int64_t from, int64_t to) {
      AddValues<1>(v, v_stride, tile.padded_dim, tile.scores + vector * kKvBlockTokens, from, to,
                   states + vector * stride + kStateHead, stride);
    };
    for (int64_t i = first; i < first + kRows; ++i) {
      const TokenRange own = RangeInBlock(tile, i, base);
      single(i, own.begin, own.end < shared_begin ? own.end : shared_begin);
    }
    AddValues<kRows>(v, v_stride, tile.padded_dim, tile.scores + first * kKvBlockTokens,
                     shared_begin, first_end, states + first * stride + kStateHead, stride);
    for (int64_t i = first; i < first + kRows; ++i) {
      single(i, shared_end, RangeInBlock(tile, i, base).end);
    }
  });
}

// Keys and values of int4 are widened always.
void AttendInt4Block(const AttentionTile& tile, const VisibleBlock& block, float* states) {
  const int64_t begin = block.begin, end = block.end;
  const int64_t quarter = tile.head_bytes / kBufferAlignment / 4;
  LoadScales(tile, block.data);
  Ahead ahead(tile, block.next);
  ahead.Fetch(quarter);
  WidenRows(tile, block.data + tile.k_data, block.data + tile.k_scale, block.tokens);
  ahead.Fetch(quarter);
  Score(tile, tile.wide, tile.padded_dim, begin, end, block.tokens);
  ahead.Fetch(quarter);
  for (int64_t i = begin; i < end; ++i) {
    WeighFloats(tile, i, RangeInBlock(tile, i, block.base), states + i * tile.state_floats(),
                ahead);
  }
  ahead.Fetch(quarter + 3);
  WidenRows(tile, block.data + tile.v_data, block.data + tile.v_scale, block.tokens);
  Accumulate(tile, tile.wide, tile.padded_dim, block.base, begin, end, states);
}

void AttendBF16Block(const AttentionTile& tile, const VisibleBlock& block, float* states) {
  const int64_t begin = block.begin, end = block.end;
  const auto* k = reinterpret_cast<const BF16*>(block.data + tile.k_data);
  const auto* v = reinterpret_cast<const BF16*>(block.data + tile.v_data);
  const bool widen = end - begin > kUnwidenedVectors || tile.padded_dim != tile.head_dim;
  const int64_t quarter = tile.head_bytes / kBufferAlignment / 4;
  LoadScales(tile, block.data);
  Ahead ahead(tile, block.next);
  ahead.Fetch(quarter);
  if (widen) {
    WidenRows(tile, k, block.tokens);
    ahead.Fetch(quarter);
    Score(tile, tile.wide, tile.padded_dim, begin, end, block.tokens);
  } else {
    ahead.Fetch(quarter);
    Score(tile, k, tile.head_dim, begin, end, block.tokens);
  }
  ahead.Fetch(quarter);
  for (int64_t i = begin; i < end; ++i) {
    WeighFloats(tile, i, RangeInBlock(tile, i, block.base), states + i * tile.state_floats(),
                ahead);
  }
  ahead.Fetch(quarter + 3);
  if (widen) {
    WidenRows(tile, v, block.tokens);
    Accumulate(tile, tile.wide, tile.padded_dim, block.base, begin, end, states);
  } else {
    Accumulate(tile, v, tile.head_dim, block.base, begin, end, states);
  }
}

}  // namespace
}  // namespace octet::kernels
