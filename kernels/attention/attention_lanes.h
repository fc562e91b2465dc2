// The body of attention over one tile, compiled once per instruction family (lanes.h).
//
// For every block of 64 tokens that a vector attends to, in order:
//   s_t   = k_scale_t * dot(q, codes_t) + k_zero_t * sum(q)       q with the softmax scale
//   m'    = max(m, max s_t);  f = exp(m - m');  p_t = exp(s_t - m')
//   l     = l * f + sum(p_t);  z = z * f + sum(p_t * v_zero_t)    sums over 64 tokens in lanes
//   acc   = acc * f + sum((p_t * v_scale_t) * codes_t)
// and in the end out = (acc + z) / l. int8: q and p_t * v_scale_t as integers times a step
// (attention_int8.h). bf16 is the same with scale 1, zero 0 and f32 products in token order
// (attention_float.h); so is int4, whose codes are turned to values (kv_layout.h) when a block is
// widened. Tokens outside the vector's range are left out of every sum, or have weight 0 among
// integers, so that what stale slots hold does not matter.
#pragma once

#include "kernels/attention/attention_float.h"
#include "kernels/attention/attention_int8.h"

namespace octet::kernels {
namespace {

void PrepareQueries(const AttentionTile& tile) {
  tile.format == KvFormat::kInt8 ? PrepareCodes(tile) : PrepareFloats(tile);
}

void AttendSplit(const AttentionTile& tile, int64_t split, const std::byte* after, float* states) {
  const auto attend = tile.format == KvFormat::kInt8   ? AttendInt8Block
                      : tile.format == KvFormat::kBF16 ? AttendBF16Block
                                                       : AttendInt4Block;
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
    // Ranges move forward from vector to vector: the first begins first, the last ends last.
    VisibleBlock block;
    block.data = tile.head_part(b) - tile.k_data;
    block.next = b < last ? tile.head_part(b + 1) : after;
    block.base = base;
    block.begin = active_begin;
    block.end = active_end;
    block.tokens = {RangeInBlock(tile, active_begin, base).begin,
                    RangeInBlock(tile, active_end - 1, base).end};
    attend(tile, block, states);
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
