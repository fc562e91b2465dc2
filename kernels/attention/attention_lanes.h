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

// The rows of the tile that see some of a block: ranges move forward from row to row.
OCTET_INLINE VisibleBlock SeenBlock(const AttentionTile& tile, int64_t index) {
  const int64_t base = index * kKvBlockTokens;
  const auto clamp = [&](int64_t row) { return row < 0 ? 0 : row < tile.rows ? row : tile.rows; };
  const int64_t end = base + kKvBlockTokens - 1 + tile.window;  // positions from here on see none
  VisibleBlock block;
  block.data = tile.head_part(index) - tile.k_data;
  block.base = base;
  block.begin = clamp(base - tile.first_position) * tile.heads;
  block.end = (tile.window > 0 ? clamp(end - tile.first_position) : tile.rows) * tile.heads;
  block.tokens = {RangeInBlock(tile, block.begin, base).begin,
                  RangeInBlock(tile, block.end - 1, base).end};
  return block;
}

void AttendSplit(const TileBundle& bundle, int64_t split, const std::byte* after, float* states) {
  const AttentionTile& lead = bundle.tiles[0];
  const auto attend = lead.format == KvFormat::kInt8   ? AttendInt8Block
                      : lead.format == KvFormat::kBF16 ? AttendBF16Block
                                                       : AttendInt4Block;
  for (int64_t i = 0; i < bundle.vectors(); ++i) {
    float* state = states + i * lead.state_floats();
    std::memset(state, 0, static_cast<size_t>(lead.state_floats()) * sizeof(float));
    state[kStateMax] = -__builtin_inff();
  }
  BeginSplit(bundle);
  const int64_t split_begin = split * kKvSplitTokens;
  const int64_t oldest = lead.oldest(0);
  const int64_t newest = lead.position(lead.vectors() - 1);
  const int64_t first = (oldest > split_begin ? oldest : split_begin) / kKvBlockTokens;
  const int64_t end = split_begin + kKvSplitTokens;
  const int64_t last = (newest < end ? newest : end - 1) / kKvBlockTokens;
  for (int64_t b = first; b <= last; ++b) {
    const std::byte* after_block = b < last ? lead.head_part(b + 1) : after;
    for (int64_t i = 0; i < bundle.count; ++i) {
      const AttentionTile& tile = bundle.tiles[i];
      VisibleBlock block = SeenBlock(tile, b);
      block.next = i + 1 < bundle.count ? bundle.tiles[i + 1].head_part(b) : after_block;
      attend(tile, block, states + tile.first_vector * tile.state_floats());
    }
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
