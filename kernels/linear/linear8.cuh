// What the two forms of a linear with int8 activations share (linear8_mma.cuh, linear8_wgmma.cuh):
// their parameters, the arithmetic of a segment's end, and what becomes of a leaf's sum.
//
// A thread holds pieces of the product that are accumulators of m16n8 tiles: outputs g and g + 8 of
// a tile of 16, rows 2t and 2t + 1 of eight. Weights are operand A, rows of activations operand B.
#pragma once

#include <type_traits>

#include "base/device/primitives.cuh"
#include "kernels/linear/cuda8_layout.h"
#include "kernels/linear/k_walk.h"
#include "kernels/linear/linear8_plan.h"

namespace octet::kernels::cuda {

// 12582912 = 1.5 * 2^23: an int32 sum that starts from its bits is, read as a float, 12582912 +
// sum, exactly, while |sum| < 2^22. That saves a conversion, which is slow on sm_80.
constexpr int32_t kFloatBase = 0x4b400000;

// What linear8_few.cuh needs to know besides.
struct Linear8FewParams {
  FewDeal deal;
  int32_t stage_bytes;  // from one stage of a ring to the next
  int32_t levels;       // of sums of a panel that wait in shared memory
  int32_t blocks_max;   // of inputs, of a block's parts
  int32_t leaves_max;   // of them
  int32_t ahead;        // bytes that a warp asks for in L2, at the beginning
  const float* bias;    // where the parts' sums are added, which
  float* out;           //   `sums` and `bias` below are not
};

struct Linear8Params {
  const std::byte* weights;  // cuda8_layout.h
  const int8_t* codes;       // activation_rows.h
  const float* x_scales;     // [leaves, padded_rows]
  const float* x_sums;       // [segments, padded_rows]
  float* sums;               // [sums of all parts, rows, outputs]: `out`, or of the workspace
  const float* bias;         // [outputs] or null; only if there is one sum
  float* waiting;            // [blocks][levels past the shared ones][values of a block]
  int64_t block_stride;      // bytes from one block of activations to the next
  int64_t panel_bytes;
  int32_t panels;
  int32_t padded_rows;
  int32_t rows;
  int32_t outputs;
  int32_t token_tiles;
  int32_t panel_tiles;
  int32_t items;
  int32_t shared_slots;  // sums that wait in shared memory, before those in `waiting`
  int32_t waiting_slots;
  int32_t stages;        // of the sm_90 form
  int32_t weight_bytes;  // of a panel's largest block
  bool f32_scales;
  bool long_segments;  // their integer sums do not fit in 22 bits and a sign
  Linear8FewParams few;
  LeafParts parts;
  uint8_t left_sum[kPartLeavesMax];   // these four as in Linear8Plan
  uint8_t push_slot[kPartLeavesMax];  //
  uint8_t pop_first[kPartLeavesMax];  //
  uint8_t pop_slot[kPartLeavesMax];   //
  KWalk walk;
};

// What a block does next: rows [token, ...) of panels [panel, ...) over a part's leaves.
struct Linear8Item {
  int32_t token;
  int32_t panel;
  int32_t part;
};

// Tiles of rows first, so that blocks that run together read the same weights.
OCTET_DEVICE Linear8Item ItemOf(const Linear8Params& p, int32_t item, int32_t tile_tokens,
                                int32_t tile_panels) {
  const int32_t rest = item / p.token_tiles;
  return {item % p.token_tiles * tile_tokens, rest % p.panel_tiles * tile_panels,
          rest / p.panel_tiles};
}
OCTET_DEVICE int32_t PartOf(const Linear8Params& p, int32_t item) {
  return item / p.token_tiles / p.panel_tiles;
}

// Int4 codes of one step as an operand: words of outputs g and g + 8. Symmetric codes come out
// times 16, in the high half of a byte, where they have their sign.
template <bool kAsymmetric>
OCTET_DEVICE void UnpackInt4(uint2 words, uint32_t (&a)[4]) {
  const uint32_t mask = kAsymmetric ? 0x0f0f0f0fu : 0xf0f0f0f0u;
  a[0] = (kAsymmetric ? words.x : words.x << 4) & mask;
#if OCTET_PLANTED_BUG == 84
  a[2] = (kAsymmetric ? words.y : words.y << 4) & mask;
  a[1] = (kAsymmetric ? words.x >> 4 : words.x) & mask;
#else
  a[1] = (kAsymmetric ? words.y : words.y << 4) & mask;
  a[2] = (kAsymmetric ? words.x >> 4 : words.x) & mask;
#endif
  a[3] = (kAsymmetric ? words.y >> 4 : words.y) & mask;
}

// Of a panel's codes of one step; a quarter of it are a tile's of 16 outputs.
template <bool kInt4>
inline constexpr int kPanelStepBytes =
    static_cast<int>(Cuda8StepBytes(kInt4 ? WeightFormat::kInt4 : WeightFormat::kInt8));

// A lane's codes of one step, as they lie in memory.
template <bool kInt4>
struct PackedStep {
  std::conditional_t<kInt4, uint2, uint4> words;

  OCTET_DEVICE void Load(const std::byte* step, int lane) {
    words = reinterpret_cast<const decltype(words)*>(step)[lane];
  }
  template <bool kAsymmetric>
  OCTET_DEVICE void Unpack(uint32_t (&a)[4]) const {
    if constexpr (kInt4) {
      UnpackInt4<kAsymmetric>(words, a);
    } else {
      a[0] = words.x;
      a[1] = words.y;
      a[2] = words.z;
      a[3] = words.w;
    }
  }
};

template <bool kInt4, bool kAsymmetric>
OCTET_DEVICE void LoadCodes(const std::byte* step, int lane, uint32_t (&a)[4]) {
  PackedStep<kInt4> packed;
  packed.Load(step, lane);
  packed.template Unpack<kAsymmetric>(a);
}

// The scales of outputs g and g + 8 of a tile, and their offsets.
struct WeightScales {
  float scale[2];
  float offset[2];
};

// `scales` is where output g's lies.
template <bool kInt4, bool kAsymmetric>
OCTET_DEVICE WeightScales LoadScales(const Linear8Params& p, const std::byte* scales) {
  WeightScales w = {};
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int at = 8 * h;
    if (p.f32_scales) {
      w.scale[h] = reinterpret_cast<const float*>(scales)[at];
      if (kAsymmetric) w.offset[h] = reinterpret_cast<const float*>(scales)[64 + at];
    } else {
      const auto* halves = reinterpret_cast<const uint16_t*>(scales);
      w.scale[h] = hw::float_of_f16(halves[at]);
      if (kAsymmetric) w.offset[h] = hw::float_of_f16(halves[64 + at]);
    }
    // The codes were times 16. Exact, unless the scale is below 2^-122, which no f16 is.
    if (kInt4 && !kAsymmetric) w.scale[h] *= 0.0625f;
  }
  return w;
}

OCTET_DEVICE int32_t ScaleBytes(const Linear8Params& p) { return p.f32_scales ? 4 : 2; }

// The end of a segment (linear8_definition.h), for rows 2t and 2t + 1. kFirst: of a leaf, whatever
// was in `leaf`. A product is then -0 where a sum from +0 is +0; the end of the leaf does not tell.
template <bool kAsymmetric, bool kFirst = false>
OCTET_DEVICE void AddSegment(float* leaf, const float (&exact)[4], const WeightScales& w,
                             float2 x_sum) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    leaf[i] = kFirst ? w.scale[i / 2] * exact[i] : fmaf(w.scale[i / 2], exact[i], leaf[i]);
  }
  if constexpr (kAsymmetric) {
    leaf[0] = fmaf(w.offset[0], x_sum.x, leaf[0]);
    leaf[1] = fmaf(w.offset[0], x_sum.y, leaf[1]);
    leaf[2] = fmaf(w.offset[1], x_sum.x, leaf[2]);
    leaf[3] = fmaf(w.offset[1], x_sum.y, leaf[3]);
  }
}
// The end of a leaf, for the same.
OCTET_DEVICE void ScaleLeaf(float* leaf, float2 x_scale) {
  leaf[0] = fmaf(leaf[0], x_scale.x, 0.0f);
  leaf[1] = fmaf(leaf[1], x_scale.y, 0.0f);
  leaf[2] = fmaf(leaf[2], x_scale.x, 0.0f);
  leaf[3] = fmaf(leaf[3], x_scale.y, 0.0f);
}

// Sums of leaves that wait for their right neighbours, in slots: the values of a block's threads,
// [values / 4][threads][4]. A thread reads what it wrote itself, no other does.
template <int kValues, int kThreads>
class WaitingSums {
 public:
  static constexpr int64_t kFloats = int64_t{kValues} * kThreads;  // of one slot

  OCTET_DEVICE WaitingSums(const Linear8Params& p, float* shared, int thread)
      : p_(p), shared_(shared), thread_(thread) {}

  // After leaf `leaf`, which ended in `sum`: adds what waited for it, but for the first `done`.
  OCTET_DEVICE void AddWaiting(int32_t leaf, float (&sum)[kValues], int done = 0) const {
    const int first = p_.pop_first[leaf];
    const int end = first + p_.parts.merges[leaf];
#pragma unroll 1
    for (int pop = first + done; pop < end; ++pop) {
      const int slot = p_.pop_slot[pop];
      // Apart, so that the compiler knows which memory it is.
      if (slot < p_.shared_slots) {
        Add(shared_ + slot * kFloats + 4 * thread_, sum);
      } else {
        Add(InWorkspace(slot), sum);
      }
    }
  }
  OCTET_DEVICE void Put(int32_t leaf, const float (&sum)[kValues]) const {
    const int slot = p_.push_slot[leaf];
    if (slot < p_.shared_slots) {
      Store(shared_ + slot * kFloats + 4 * thread_, sum);
    } else {
      Store(InWorkspace(slot), sum);
    }
  }

 private:
  OCTET_DEVICE static void Add(const float* from, float (&sum)[kValues]) {
    constexpr int kAtOnce = kValues / 4 < 8 ? kValues / 4 : 8;  // loads, as registers are short
#pragma unroll
    for (int first = 0; first < kValues / 4; first += kAtOnce) {
      float4 left[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        left[i] = *reinterpret_cast<const float4*>(from + 4 * (first + i) * kThreads);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        float* to = sum + 4 * (first + i);
        to[0] = left[i].x + to[0];
        to[1] = left[i].y + to[1];
        to[2] = left[i].z + to[2];
        to[3] = left[i].w + to[3];
      }
    }
  }
  OCTET_DEVICE static void Store(float* to, const float (&sum)[kValues]) {
#pragma unroll
    for (int i = 0; i < kValues; i += 4) {
      *reinterpret_cast<float4*>(to + i * kThreads) =
          make_float4(sum[i], sum[i + 1], sum[i + 2], sum[i + 3]);
    }
  }
  OCTET_DEVICE float* InWorkspace(int slot) const {
    const int64_t slots = p_.waiting_slots - p_.shared_slots;
    return p_.waiting + (blockIdx.x * slots + slot - p_.shared_slots) * kFloats + 4 * thread_;
  }

  const Linear8Params& p_;
  float* shared_;
  int thread_;
};

// Stores one accumulator tile of a sum that is left: `output` is the tile's first of this thread,
// `token` its first row.
OCTET_DEVICE void StoreTile(const Linear8Params& p, int32_t sum_index, int32_t output,
                            int32_t token, const float* sum) {
  float* to = p.sums + int64_t{sum_index} * p.rows * p.outputs;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int32_t o = output + (i / 2) * 8;
    const int32_t row = token + i % 2;
    if (o >= p.outputs || row >= p.rows) continue;
    const float value = p.bias != nullptr ? sum[i] + p.bias[o] : sum[i];
    to[int64_t{row} * p.outputs + o] = value;
  }
}

}  // namespace octet::kernels::cuda
