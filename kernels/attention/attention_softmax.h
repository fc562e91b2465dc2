// What the formats of the cache share in attention over one block: which tokens a vector sees, and
// its softmax.
#pragma once

#include <type_traits>

#include "kernels/attention/attention_tile.h"
#include "kernels/lanes.h"

namespace octet::kernels {
namespace {

constexpr int kBlockParts = kKvBlockTokens / kLanes;

struct TokenRange {  // inside a block
  int64_t begin = 0;
  int64_t end = 0;
};

OCTET_INLINE TokenRange RangeInBlock(const AttentionTile& tile, int64_t vector, int64_t base) {
  const int64_t begin = tile.oldest(vector) - base;
  const int64_t end = tile.position(vector) + 1 - base;
  return {begin > 0 ? begin : 0, end < kKvBlockTokens ? end : kKvBlockTokens};
}

// One block of the context and the vectors [begin, end) of a tile that see some of it.
struct VisibleBlock {
  const std::byte* data = nullptr;
  const std::byte* next = nullptr;  // head_bytes that the thread reads after it, or null
  int64_t base = 0;                 // its first position
  int64_t begin = 0;
  int64_t end = 0;
  TokenRange tokens;  // that any of them sees
};

// What a thread will read next, asked for a few lines at a time between the instructions of what it
// computes now: the processor can keep so many misses, and a burst of more would only wait.
//
// Scales first, though they lie behind the keys and values: what is asked for last is not there yet
// when the next block begins.
//
// Or front to back, and beside each line that a part of a part ahead into L1: no load of what is
// worked on then queues behind requests to memory. For few vectors; with more it is slower
// (README).
//
// Or in pairs, a line of each half (keys, and values with scales): two streams of memory.
class Ahead {
 public:
  OCTET_INLINE Ahead(const AttentionTile& tile, const std::byte* part)
      : begin_(part), at_(part), end_(part) {
    if (part == nullptr) return;
    at_ = part + (tile.k_scale - tile.k_data);
    end_ = part + tile.head_bytes;
    left_ = tile.head_bytes / kBufferAlignment;
  }
  // To be called before the first Fetch. `now` is the part that is worked on; into L1 is asked for
  // what lies 1 / `share` of a part ahead.
  OCTET_INLINE void FrontToBack(const std::byte* now, int64_t share) {
    at_ = begin_;
    near_ = now + left_ / share * kBufferAlignment;
    near_end_ = now + left_ * kBufferAlignment;
  }
  // Likewise. Fetch then takes an even number of lines.
  OCTET_INLINE void InPairs() {
    at_ = begin_;
    left_ = (left_ + 1) / 2 * 2;
    half_ = left_ / 2 * kBufferAlignment;
  }
  OCTET_INLINE void FetchRest() { Fetch(left_); }
  OCTET_INLINE void Fetch(int64_t lines) {
    lines = lines < left_ ? lines : left_;
    if (half_ != 0) lines = (lines + 1) / 2 * 2;
    left_ -= lines;
    const std::byte* at = at_;
    if (half_ != 0) {
      for (; lines > 0; lines -= 2) {
        __builtin_prefetch(at, 0, 2);
        __builtin_prefetch(at + half_, 0, 2);
        at += kBufferAlignment;
      }
    } else if (near_ == nullptr) {
      for (; lines > 0; --lines) {
        if (at == end_) at = begin_;
        __builtin_prefetch(at, 0, 2);
        at += kBufferAlignment;
      }
    } else {
      const std::byte* near = near_;
      for (; lines > 0; --lines) {
        if (near == near_end_) near = begin_;
        __builtin_prefetch(at, 0, 2);
        __builtin_prefetch(near, 0, 3);
        at += kBufferAlignment;
        near += kBufferAlignment;
      }
      near_ = near;
    }
    at_ = at;
  }

 private:
  const std::byte* begin_;
  const std::byte* at_;
  const std::byte* end_;
  const std::byte* near_ = nullptr;  // asked for into L1; null: nothing is
  const std::byte* near_end_ = nullptr;
  int64_t left_ = 0;  // lines
  int64_t half_ = 0;  // bytes between the lines of a pair; 0: not in pairs
};

// How many lines are asked for at one place of each part of a block.
struct FetchPace {
  int64_t score = 0;  // per step of a product with keys
  int64_t weigh = 0;  // at each of four places of a vector's softmax
  int64_t values = 0;
};

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

// Calls f with the number of vectors as a constant: tiles of kRows, then what is left.
template <int kRows, typename F>
OCTET_INLINE void ForEachTile(int64_t begin, int64_t end, const F& f) {
  int64_t v = begin;
  for (; v + kRows <= end; v += kRows) {
    f(v, std::integral_constant<int, kRows>());
  }
  if constexpr (kRows > 3) {
    if (end - v == 3) f(v, std::integral_constant<int, 3>());
  }
  if constexpr (kRows > 2) {
    if (end - v == 2) f(v, std::integral_constant<int, 2>());
  }
  if (end - v == 1) f(v, std::integral_constant<int, 1>());
}

OCTET_INLINE Mask16 LanesOfPart(TokenRange tokens, int part) {
  const auto clamp = [&](int64_t token) {
    const int64_t lane = token - part * kLanes;
    return lane < 0 ? 0 : lane > kLanes ? kLanes : lane;
  };
  return LanesBetween(clamp(tokens.begin), clamp(tokens.end));
}

// Turns the scores of one vector into weights, and updates its state but for the values, which are
// to be multiplied by `factor` before those of this block are added. Fetches `lines` three times.
struct BlockWeights {
  F32x16 lanes[kBlockParts];  // times the scale of the token's value; 0 where it is not seen
  float factor = 1;
};
//
// kWhole: it sees all tokens of the block.
template <bool kWhole>
OCTET_INLINE BlockWeights Weigh(const AttentionTile& tile, TokenRange tokens, const F32x16* scores,
                                float* state, Ahead& ahead, int64_t lines) {
  const float* v_scale = tile.scales + 2 * kKvBlockTokens;
  const float* v_zero = v_scale + kKvBlockTokens;
  Mask16 valid[kBlockParts];
  const auto seen = [&](int i, F32x16 x, float otherwise) {
    return kWhole ? x : Select(valid[i], x, Splat(otherwise));
  };
  BlockWeights weights;
  F32x16 s[kBlockParts];
#pragma GCC unroll 4
  for (int i = 0; i < kBlockParts; ++i) {
    if (!kWhole) valid[i] = LanesOfPart(tokens, i);
    s[i] = seen(i, scores[i], -__builtin_inff());
  }
  ahead.Fetch(lines);
  const float block_max = ReduceMax(Max(Max(s[0], s[1]), Max(s[2], s[3])));
  const float max = state[kStateMax] > block_max ? state[kStateMax] : block_max;
  if (max != state[kStateMax]) weights.factor = Exp(state[kStateMax] - max);  // else Exp(0), 1
  F32x16 p[kBlockParts], z[kBlockParts];
  ahead.Fetch(lines);
#pragma GCC unroll 4
  for (int i = 0; i < kBlockParts; ++i) {
    p[i] = seen(i, Exp(s[i] - Splat(max)), 0.0f);
    z[i] = seen(i, p[i] * LoadLanes(v_zero + i * kLanes), 0.0f);
    weights.lanes[i] = seen(i, p[i] * LoadLanes(v_scale + i * kLanes), 0.0f);
  }
  const float factor = weights.factor;
  ahead.Fetch(lines);
  state[kStateMax] = max;
  state[kStateSum] = state[kStateSum] * factor + ReduceSum((p[0] + p[1]) + (p[2] + p[3]));
  state[kStateZero] = state[kStateZero] * factor + ReduceSum((z[0] + z[1]) + (z[2] + z[3]));
  state[kStateSeen] = 1.0f;
  return weights;
}

}  // namespace
}  // namespace octet::kernels
