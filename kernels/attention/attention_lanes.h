// The body of attention over one tile, compiled once per instruction family (lanes.h).
//
// For every block of 64 tokens that a vector attends to, in order:
//   s_t   = k_scale_t * dot(q, codes_t) + k_zero_t * sum(q)       q already times the softmax scale
//   m'    = max(m, max s_t);  f = exp(m - m');  p_t = exp(s_t - m')
//   l     = l * f + sum(p_t);  z = z * f + sum(p_t * v_zero_t)    sums over 64 tokens in lanes
//   acc   = acc * f, then += (p_t * v_scale_t) * codes_t in token order
// and in the end out = (acc + z) / l. bf16 is the same with scale 1 and zero 0; so is int4, whose
// codes are turned to values (kv_layout.h) when a block is widened. Tokens outside the vector's
// range are left out of every sum, so that what stale slots hold does not matter.
#pragma once

#include <type_traits>

#include "kernels/attention/attention_dots.h"
#include "kernels/attention/attention_tile.h"

namespace octet::kernels {
namespace {

// Up to so many vectors read the cache as it is; more widen a block to f32 first.
constexpr int64_t kUnwidenedVectors = kRowsOfTile;

struct TokenRange {  // inside a block
  int64_t begin = 0;
  int64_t end = 0;
};

OCTET_INLINE TokenRange RangeInBlock(const AttentionTile& tile, int64_t vector, int64_t base) {
  const int64_t begin = tile.oldest(vector) - base;
  const int64_t end = tile.position(vector) + 1 - base;
  return {begin > 0 ? begin : 0, end < kKvBlockTokens ? end : kKvBlockTokens};
}

void PrepareQueries(const AttentionTile& tile) {
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

OCTET_INLINE void LoadScales(const AttentionTile& tile, const std::byte* block) {
  for (int which = 0; which < 2; ++which) {
    const auto* pairs =
        reinterpret_cast<const uint16_t*>(block + (which == 0 ? tile.k_scale : tile.v_scale));
    float* scale = tile.scales + which * 2 * kKvBlockTokens;
    for (int64_t t = 0; t < kKvBlockTokens; t += kLanes) {
      F32x16 scales = Splat(1.0f);
      F32x16 zeros = Splat(0.0f);
      if (tile.format == KvFormat::kInt8) LoadF16Pairs(pairs + 2 * t, &scales, &zeros);
      StoreLanes(scale + t, scales);
      StoreLanes(scale + kKvBlockTokens + t, zeros);
    }
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

template <typename T>
void WidenRows(const AttentionTile& tile, const T* rows, TokenRange tokens) {
  const int64_t whole = tile.head_dim / kLanes * kLanes;
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    const T* row = rows + t * tile.head_dim;
    float* out = tile.wide + t * tile.padded_dim;
    for (int64_t c = 0; c < whole; c += kLanes) StoreLanes(out + c, LoadLanes(row + c));
    if (whole == tile.head_dim) continue;
    T tail[kLanes] = {};
    std::memcpy(tail, row + whole, static_cast<size_t>(tile.head_dim - whole) * sizeof(T));
    StoreLanes(out + whole, LoadLanes(tail));
  }
}

// Calls f with the number of vectors as a constant: tiles of kRowsOfTile, then what is left.
template <typename F>
OCTET_INLINE void ForEachTile(int64_t begin, int64_t end, const F& f) {
  int64_t v = begin;
  for (; v + kRowsOfTile <= end; v += kRowsOfTile) {
    f(v, std::integral_constant<int, kRowsOfTile>());
  }
  if constexpr (kRowsOfTile > 3) {
    if (end - v == 3) f(v, std::integral_constant<int, 3>());
  }
  if constexpr (kRowsOfTile > 2) {
    if (end - v == 2) f(v, std::integral_constant<int, 2>());
  }
  if (end - v == 1) f(v, std::integral_constant<int, 1>());
}

// Raw dots of vectors [begin, end) with the tokens of the block, whole sixteens.
template <typename T>
void Score(const AttentionTile& tile, const T* k, int64_t k_stride, int64_t begin, int64_t end,
           TokenRange tokens) {
  for (int64_t t = tokens.begin / kLanes * kLanes; t < tokens.end; t += kLanes) {
    ForEachTile(begin, end, [&](int64_t v, auto count) {
      ScoreSixteen<count.value>(tile.q + v * tile.padded_dim, tile.padded_dim, k + t * k_stride,
                                k_stride, tile.scores + v * kKvBlockTokens + t);
    });
  }
}

// Turns the raw dots of one vector into weights and updates its state but for the values.
OCTET_INLINE void Weigh(const AttentionTile& tile, int64_t vector, TokenRange tokens,
                        float* state) {
  constexpr int kParts = kKvBlockTokens / kLanes;
  float* scores = tile.scores + vector * kKvBlockTokens;
  const float* k_scale = tile.scales;
  const float* k_zero = k_scale + kKvBlockTokens;
  const float* v_scale = k_zero + kKvBlockTokens;
  const float* v_zero = v_scale + kKvBlockTokens;
  const F32x16 q_sum = Splat(tile.q_sum[vector]);
  const F32x16 none = Splat(0.0f);
  Mask16 valid[kParts];
  F32x16 s[kParts];
#pragma GCC unroll 4
  for (int i = 0; i < kParts; ++i) {
    const int64_t first = i * kLanes;
    const int64_t begin = tokens.begin - first;
    const int64_t end = tokens.end - first;
    valid[i] = LanesBetween(begin < 0        ? 0
                            : begin > kLanes ? kLanes
                                             : begin,
                            end < 0        ? 0
                            : end > kLanes ? kLanes
                                           : end);
    s[i] =
        LoadLanes(k_scale + first) * LoadLanes(scores + first) + LoadLanes(k_zero + first) * q_sum;
    s[i] = Select(valid[i], s[i], Splat(-__builtin_inff()));
  }
  const float block_max = ReduceMax(Max(Max(s[0], s[1]), Max(s[2], s[3])));
  const float max = state[kStateMax] > block_max ? state[kStateMax] : block_max;
  const float factor = Exp(state[kStateMax] - max);
  F32x16 p[kParts], z[kParts];
#pragma GCC unroll 4
  for (int i = 0; i < kParts; ++i) {
    const int64_t first = i * kLanes;
    p[i] = Select(valid[i], Exp(s[i] - Splat(max)), none);
    z[i] = Select(valid[i], p[i] * LoadLanes(v_zero + first), none);
    StoreLanes(scores + first, p[i] * LoadLanes(v_scale + first));  // read in range only
  }
  state[kStateMax] = max;
  state[kStateSum] = state[kStateSum] * factor + ReduceSum((p[0] + p[1]) + (p[2] + p[3]));
  state[kStateZero] = state[kStateZero] * factor + ReduceSum((z[0] + z[1]) + (z[2] + z[3]));
  state[kStateSeen] = 1.0f;
  if (factor == 1.0f) return;
  float* acc = state + kStateHead;
  for (int64_t c = 0; c < tile.padded_dim; c += kLanes) {
    StoreLanes(acc + c, LoadLanes(acc + c) * Splat(factor));
  }
}

// Adds the weighted values of the block to vectors [begin, end). Tokens that all vectors of a
// register tile see are added together; those before and after, vector by vector, in order.
template <typename T>
void Accumulate(const AttentionTile& tile, const T* v, int64_t v_stride, int64_t base,
                int64_t begin, int64_t end, float* states) {
  const int64_t stride = tile.state_floats();
  ForEachTile(begin, end, [&](int64_t first, auto count) {
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

// A head's part of the next block lies anywhere: its lines are asked for ahead, in quarters between
// the passes over this block, as a burst would fill the queue of misses.
OCTET_INLINE void Prefetch(const AttentionTile& tile, const std::byte* block, int64_t quarter) {
  if (block == nullptr) return;
  const int64_t bytes = tile.head_bytes / 4;
  const std::byte* first = block + tile.k_data + quarter * bytes;
  for (int64_t at = 0; at < bytes; at += kBufferAlignment) __builtin_prefetch(first + at, 0, 2);
}

// Keys and values of int4 are widened always.
void AttendInt4Block(const AttentionTile& tile, const std::byte* block, const std::byte* next,
                     int64_t base, int64_t begin, int64_t end, float* states) {
  const TokenRange tokens = {RangeInBlock(tile, begin, base).begin,
                             RangeInBlock(tile, end - 1, base).end};
  LoadScales(tile, block);
  Prefetch(tile, next, 0);
  WidenRows(tile, block + tile.k_data, block + tile.k_scale, tokens);
  Prefetch(tile, next, 1);
  Score(tile, tile.wide, tile.padded_dim, begin, end, tokens);
  Prefetch(tile, next, 2);
  for (int64_t i = begin; i < end; ++i) {
    Weigh(tile, i, RangeInBlock(tile, i, base), states + i * tile.state_floats());
  }
  Prefetch(tile, next, 3);
  WidenRows(tile, block + tile.v_data, block + tile.v_scale, tokens);
  Accumulate(tile, tile.wide, tile.padded_dim, base, begin, end, states);
}

template <typename T>
void AttendBlock(const AttentionTile& tile, const std::byte* block, const std::byte* next,
                 int64_t base, int64_t begin, int64_t end, float* states) {
  const auto* k = reinterpret_cast<const T*>(block + tile.k_data);
  const auto* v = reinterpret_cast<const T*>(block + tile.v_data);
  // Ranges move forward from vector to vector: the first begins first, the last ends last.
  const TokenRange tokens = {RangeInBlock(tile, begin, base).begin,
                             RangeInBlock(tile, end - 1, base).end};
  const bool widen = end - begin > kUnwidenedVectors || tile.padded_dim != tile.head_dim;
  LoadScales(tile, block);
  Prefetch(tile, next, 0);
  if (widen) {
    WidenRows(tile, k, tokens);
    Prefetch(tile, next, 1);
    Score(tile, tile.wide, tile.padded_dim, begin, end, tokens);
  } else {
    Prefetch(tile, next, 1);
    Score(tile, k, tile.head_dim, begin, end, tokens);
  }
  Prefetch(tile, next, 2);
  for (int64_t i = begin; i < end; ++i) {
    Weigh(tile, i, RangeInBlock(tile, i, base), states + i * tile.state_floats());
  }
  Prefetch(tile, next, 3);
  if (widen) {
    WidenRows(tile, v, tokens);
    Accumulate(tile, tile.wide, tile.padded_dim, base, begin, end, states);
  } else {
    Accumulate(tile, v, tile.head_dim, base, begin, end, states);
  }
}

void AttendSplit(const AttentionTile& tile, int64_t split, float* states) {
  const int64_t vectors = tile.vectors();
  for (int64_t i = 0; i < vectors; ++i) {
    float* state = states + i * tile.state_floats();
    std::memset(state, 0, static_cast<size_t>(tile.state_floats()) * sizeof(float));
    state[kStateMax] = -__builtin_inff();
  }
  const int64_t split_begin = split * kKvSplitTokens;
  const int64_t oldest = tile.oldest(0);
  const int64_t newest = tile.position(vectors - 1);
  const int64_t first = (oldest > split_begin ? oldest : split_begin) / kKvBlockTokens;
  const int64_t end = split_begin + kKvSplitTokens;
  const int64_t last = (newest < end ? newest : end - 1) / kKvBlockTokens;
  int64_t active_begin = 0;
  for (int64_t b = first; b <= last; ++b) {
    const int64_t base = b * kKvBlockTokens;
    while (active_begin < vectors && tile.position(active_begin) < base) ++active_begin;
    int64_t active_end = vectors;
    while (tile.oldest(active_end - 1) >= base + kKvBlockTokens) --active_end;
    const auto at = [&](int64_t i) { return tile.cache + tile.block_table[i] * tile.block_bytes; };
    const std::byte* block = at(b);
    const std::byte* next = b < last ? at(b + 1) : nullptr;
    const auto attend = tile.format == KvFormat::kInt8   ? AttendBlock<int8_t>
                        : tile.format == KvFormat::kBF16 ? AttendBlock<BF16>
                                                         : AttendInt4Block;
    attend(tile, block, next, base, active_begin, active_end, states);
  }
}

void MergeStates(const AttentionTile& tile, const float* part, float* merged) {
  const int64_t floats = tile.state_floats();
  for (int64_t i = 0; i < tile.vectors(); ++i, part += floats, merged += floats) {
    if (part[kStateSeen] == 0.0f) continue;
    if (merged[kStateSeen] == 0.0f) {
      std::memcpy(merged, part, static_cast<size_t>(floats) * sizeof(float));
      continue;
    }
    const float max = merged[kStateMax] > part[kStateMax] ? merged[kStateMax] : part[kStateMax];
    const float old_factor = Exp(merged[kStateMax] - max);
    const float new_factor = Exp(part[kStateMax] - max);
    merged[kStateMax] = max;
    merged[kStateSum] = merged[kStateSum] * old_factor + part[kStateSum] * new_factor;
    merged[kStateZero] = merged[kStateZero] * old_factor + part[kStateZero] * new_factor;
    for (int64_t c = kStateHead; c < floats; c += kLanes) {
      StoreLanes(merged + c, LoadLanes(merged + c) * Splat(old_factor) +
                                 LoadLanes(part + c) * Splat(new_factor));
    }
  }
}

void WriteRows(const AttentionTile& tile, const float* states) {
  for (int64_t i = 0; i < tile.vectors(); ++i, states += tile.state_floats()) {
    float* out = tile.out + i / tile.heads * tile.out_stride + i % tile.heads * tile.head_dim;
    for (int64_t c = 0; c < tile.head_dim; c += kLanes) {
      const F32x16 lanes = (LoadLanes(states + kStateHead + c) + Splat(states[kStateZero])) /
                           Splat(states[kStateSum]);
      const int64_t rest = tile.head_dim - c;
      rest >= kLanes ? StoreLanes(out + c, lanes) : StoreFirst(out + c, rest, lanes);
    }
  }
}

constexpr AttentionBody kBody = {PrepareQueries, AttendSplit, MergeStates, WriteRows};

}  // namespace
}  // namespace octet::kernels
