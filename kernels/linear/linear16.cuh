// What the two instruction families of the linear with bf16 activations share: scaling a segment's
// sum, the stack of sums of leaves, and the way out. Fragments of weights: linear16_fragments.cuh.
//
// Arithmetic, for every number of rows and on both families alike but for the matrix instruction:
//   quantized  segment = sum over its steps of 16 inputs of (code - 2^(bits-1)) * 2^-6 * x, an
//              exact product of bf16, summed in f32 by the matrix instruction, from zero;
//              leaf = fma(2^6 * scale, segment, leaf), then, if asymmetric, leaf =
//              fma(offset + 2^(bits-1) * scale, sum of the segment's x, leaf). So weights are never
//              rounded.
//   floats     leaf = sum over its steps of w * x; f16 and f32 are taken as the sum of two and
//              three bf16 numbers, which is exact, one matrix instruction each.
// Leaves are then added by the program of their part (leaf_parts.h).
//
// Values of a warp's tile of 16 outputs (a slab, cuda16_layout.h) x 8 tokens in lane 4g + t:
//   v[0] output 2g, token 2t   v[1] output 2g, token 2t + 1   v[2], v[3] the same of output 2g + 1
#pragma once

#include <algorithm>

#include "base/check.h"
#include "base/device/device_info.h"
#include "base/device/primitives.cuh"
#include "kernels/linear/cuda16_layout.h"
#include "kernels/linear/four_sums.cuh"
#include "kernels/linear/linear16_fragments.cuh"
#include "kernels/linear/linear16_plan.h"

namespace octet::kernels::cuda {

struct Linear16Kernel {
  const std::byte* weights;
  const uint16_t* x;    // [rows, x_stride] bf16
  const float* x_sums;  // [segments, x_sums_stride] sums of x; asymmetric only
  const float* bias;
  float* out;          // [roots, rows, outputs]
  float* partials;     // [sums, rows, outputs] what several parts leave
  uint32_t* arrivals;  // how many parts of a tile are done; null: another kernel adds them
  float* spill;        // [blocks of the grid, spill levels, tile]
  int64_t x_stride;
  int64_t x_sums_stride;
  int64_t panel_bytes;
  int64_t outputs;
  int64_t rows;
  int32_t panels;
  int32_t code_bytes;
  int32_t stage_bytes[2];
  int32_t ring_bytes;  // from one stage of the ring to the next
  int32_t output_tiles;
  int32_t row_tiles;
  int32_t items;          // tiles times parts
  int32_t shared_levels;  // of the stack of sums; what lies above is spilled
  int32_t spill_levels;
  bool x_by_steps;  // x holds whole stages, padding included (cuda16_layout.h: not in_place)
  bool asymmetric;
  bool scales_f32;
  Linear16Few few;
  LeafParts parts;
  Cuda16Inputs inputs;
};

// One tile of outputs and tokens, for one part of the leaves.
struct Linear16Item {
  int32_t output_tile;
  int32_t row_tile;
  int32_t part;
};

// Neighbouring items share a tile of weights, and eight row tiles share the weights in L2.
OCTET_DEVICE Linear16Item ItemOf(const Linear16Kernel& k, int32_t item) {
  constexpr int32_t kRowTiles = 8;
  const int32_t tile = item / k.parts.parts;
  const int32_t group = tile / (kRowTiles * k.output_tiles);
  const int32_t within = tile - group * kRowTiles * k.output_tiles;
  const int32_t rows = min(kRowTiles, k.row_tiles - group * kRowTiles);
  return {within / rows, group * kRowTiles + within % rows, item % k.parts.parts};
}

// Of a lane's two outputs.
struct LaneScales {
  float scale[2];   // of a segment's sum: over kCodeUnit
  float offset[2];  // beside the subtracted 2^(bits-1)

  // From those of the format.
  template <WeightFormat kFormat>
  OCTET_DEVICE static LaneScales Of(float2 scales, float2 offsets) {
    constexpr float kMiddle = kFormat == WeightFormat::kInt4 ? 8.0f : 128.0f;
    return {{scales.x * (1 / kCodeUnit), scales.y * (1 / kCodeUnit)},
            {fmaf(kMiddle, scales.x, offsets.x), fmaf(kMiddle, scales.y, offsets.y)}};
  }
};

// `scales` is what follows the codes in a stage; `place` the first of the two outputs in its panel.
template <WeightFormat kFormat, bool kAreF16 = false>
OCTET_DEVICE LaneScales ReadScales(const Linear16Kernel& k, const std::byte* scales, int slots,
                                   int slot, int place) {
  const int at = slot * kCuda16PanelOutputs + place;
  const auto read = [&](int from) {
    return !kAreF16 && k.scales_f32
               ? *reinterpret_cast<const float2*>(scales + from * 4)
               : hw::floats_of_f16x2(*reinterpret_cast<const uint32_t*>(scales + from * 2));
  };
  return LaneScales::Of<kFormat>(
      read(at), k.asymmetric ? read(at + slots * kCuda16PanelOutputs) : make_float2(0, 0));
}

// Scales the sum of a segment into the leaf's; kFirst: of which it is the first, so that the leaf's
// needs no zeros. `x_sums` is of the segment and of the first token.
template <bool kFirst = false, int kValues>
OCTET_DEVICE void Fold(const LaneScales& lane, const float* x_sums, bool asymmetric, int t,
                       const float (&segment)[kValues], float (&leaf)[kValues]) {
#pragma unroll
  for (int i = 0; i < kValues; ++i) {
    leaf[i] = fmaf(lane.scale[i / 2 % 2], segment[i], kFirst ? 0.0f : leaf[i]);
  }
  if (!asymmetric) return;
#pragma unroll
  for (int i = 0; i < kValues; i += 4) {
    const auto sums = *reinterpret_cast<const float2*>(x_sums + i * 2 + 2 * t);
    leaf[i] = fmaf(lane.offset[0], sums.x, leaf[i]);
    leaf[i + 1] = fmaf(lane.offset[0], sums.y, leaf[i + 1]);
    leaf[i + 2] = fmaf(lane.offset[1], sums.x, leaf[i + 2]);
    leaf[i + 3] = fmaf(lane.offset[1], sums.y, leaf[i + 3]);
  }
}

// A thread's own sums of leaves that wait for their right neighbour. The lower levels, which are
// used most, lie in shared memory, the others in the block's part of the workspace. No other thread
// touches them, so nothing has to be synchronized.
template <int kTiles, int kValues, int kThreads>
class SumStack {
 public:
  static constexpr int kVectors = kTiles * kValues / 4;
  static constexpr int64_t kLevelFloats = int64_t{kTiles} * kValues * kThreads;

  OCTET_DEVICE SumStack(const Linear16Kernel& k, float* shared, int thread)
      : shared_(reinterpret_cast<float4*>(shared) + thread),
        spill_(reinterpret_cast<float4*>(k.spill + blockIdx.x * k.spill_levels * kLevelFloats) +
               thread),
        shared_levels_(k.shared_levels) {}

  OCTET_DEVICE void Pop(float (&values)[kTiles][kValues]) {
    EachVector(At(--held_), values, [](float4& from, float* to) {
      to[0] = from.x;
      to[1] = from.y;
      to[2] = from.z;
      to[3] = from.w;
    });
  }
  // values = top of the stack + values
  OCTET_DEVICE void PopAdd(float (&values)[kTiles][kValues]) {
    EachVector(At(--held_), values, [](float4& from, float* to) {
      const float4 left = from;
      to[0] = left.x + to[0];
      to[1] = left.y + to[1];
      to[2] = left.z + to[2];
      to[3] = left.w + to[3];
    });
  }
  OCTET_DEVICE void Push(float (&values)[kTiles][kValues]) {
    EachVector(At(held_++), values, [](float4& to, const float* from) {
      to = make_float4(from[0], from[1], from[2], from[3]);
    });
  }
  OCTET_DEVICE int held() const { return held_; }

 private:
  template <typename Visit>
  OCTET_DEVICE static void EachVector(float4* slot, float (&values)[kTiles][kValues],
                                      const Visit& visit) {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      visit(slot[i * kThreads], &values[i / (kValues / 4)][i % (kValues / 4) * 4]);
    }
  }
  OCTET_DEVICE float4* At(int level) {
    return level < shared_levels_ ? shared_ + level * kVectors * kThreads
                                  : spill_ + (level - shared_levels_) * kVectors * kThreads;
  }
  float4* shared_;
  float4* spill_;
  int shared_levels_;
  int held_ = 0;
};

// Where a thread's values belong: slab m holds outputs from `output + m * output_step`, its tiles
// tokens from `token`.
struct ValuePlace {
  int64_t output;
  int64_t output_step;
  int64_t token;
  int lane;

  // visit(row, own, v, e): values v + e and v + 2 + e belong to outputs own and own + 1 of that
  // row.
  template <int kValues, typename Visit>
  OCTET_DEVICE void EachPair(const Linear16Kernel& k, int m, const Visit& visit) const {
    const int64_t own = output + m * output_step + lane / 4 * 2;
    if (own >= k.outputs) return;
#pragma unroll
    for (int v = 0; v < kValues; v += 4) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int64_t row = token + v * 2 + lane % 4 * 2 + e;
        if (row < k.rows) visit(row, own, v, e);
      }
    }
  }
};

// Writes a sum to `to` [rows, outputs], with the bias if there is one.
template <int kTiles, int kValues>
OCTET_DEVICE void StoreSum(const Linear16Kernel& k, const ValuePlace& place, float* to,
                           const float* bias, const float (&values)[kTiles][kValues]) {
  const bool by_two = k.outputs % 2 == 0;  // `to` is aligned to 8 bytes
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    place.EachPair<kValues>(k, m, [&](int64_t row, int64_t own, int v, int e) {
      float first = values[m][v + e];
      float second = values[m][v + 2 + e];
      const bool both = own + 1 < k.outputs;
      if (bias != nullptr) {
        first += bias[own];
        if (both) second += bias[own + 1];
      }
      float* at = to + row * k.outputs + own;
      if (by_two) {
        *reinterpret_cast<float2*>(at) = make_float2(first, second);
      } else {
        at[0] = first;
        if (both) at[1] = second;
      }
    });
  }
}

// Reads a sum that StoreSum wrote.
template <int kTiles, int kValues>
OCTET_DEVICE void LoadSum(const Linear16Kernel& k, const ValuePlace& place, const float* from,
                          float (&values)[kTiles][kValues]) {
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    place.EachPair<kValues>(k, m, [&](int64_t row, int64_t own, int v, int e) {
      const float* at = from + row * k.outputs + own;
      values[m][v + e] = at[0];
      values[m][v + 2 + e] = own + 1 < k.outputs ? at[1] : 0.0f;
    });
  }
}

// Writes the sums on the stack and the one in `values`, which are `first_sum` and the ones after
// it.
template <typename Stack, int kTiles, int kValues>
OCTET_DEVICE void StoreSums(const Linear16Kernel& k, const ValuePlace& place, float* to,
                            const float* bias, int first_sum, Stack& stack,
                            float (&values)[kTiles][kValues]) {
  for (int sum = first_sum + stack.held();; --sum) {
    StoreSum(k, place, to + sum * k.rows * k.outputs, bias, values);
    if (sum == first_sum) break;
    stack.Pop(values);
  }
}

// The end of an item: writes the roots, or what its part leaves; then the block that is the last of
// a tile's parts to get here adds what all of them left, in the tree's order. `sync` is a barrier
// of the threads that compute, `is_last` a word of shared memory.
template <typename Stack, int kTiles, int kValues, typename Sync>
OCTET_DEVICE void EndItem(const Linear16Kernel& k, const Linear16Item& item,
                          const ValuePlace& place, bool is_first_thread, uint32_t* is_last,
                          const Sync& sync, Stack& stack, float (&values)[kTiles][kValues]) {
  const int32_t parts = k.parts.parts;
  if (parts == 1) {
    StoreSums(k, place, k.out, k.bias, 0, stack, values);
    return;
  }
  StoreSums(k, place, k.partials, nullptr, k.parts.sum_begin[item.part], stack, values);
  if (k.arrivals == nullptr) return;
  sync();
  if (is_first_thread) {
    uint32_t* arrived = &k.arrivals[item.row_tile * k.output_tiles + item.output_tile];
    __threadfence();
    const bool last = hw::atom_add_acq_rel(arrived, 1) + 1 == static_cast<uint32_t>(parts);
    if (last) *arrived = 0;  // for the next call
    *is_last = last ? 1 : 0;
  }
  sync();
  if (*is_last == 0) return;
  for (int sum = 0; sum < k.parts.rest.count; ++sum) {
    if (sum > 0) stack.Push(values);
    LoadSum(k, place, k.partials + sum * k.rows * k.outputs, values);
    for (int merge = 0; merge < k.parts.rest.merges[sum]; ++merge) stack.PopAdd(values);
  }
  StoreSums(k, place, k.out, k.bias, 0, stack, values);
}

// Where the parts of a stage of the ring lie, in bytes from its beginning. Tokens come first, as
// they must be aligned to 1024.
struct Linear16Stage {
  int32_t weights_at;  // [panels][weight_bytes]
  int32_t weight_bytes;
  int32_t sums_at;
  int32_t bytes;

  OCTET_DEVICE static Linear16Stage Of(const Linear16Kernel& k, int panels, int tokens) {
    Linear16Stage stage;
    stage.weights_at = tokens * 128;
    stage.weight_bytes = max(k.stage_bytes[0], k.stage_bytes[1]);
    stage.sums_at = stage.weights_at + panels * stage.weight_bytes;
    stage.bytes = k.ring_bytes;
    return stage;
  }
};

// Tokens are kept in shared memory as rows of one stage, 128 bytes, in which the 16-byte chunk c of
// token n lies at chunk c ^ (n % 8): neither copies, ldmatrix nor wgmma meet a bank twice.
OCTET_DEVICE uint32_t ChunkAt(int token, int chunk) {
  return static_cast<uint32_t>(token * 128 + ((chunk ^ (token & 7)) << 4));
}

// Follows the stages of a part while they are copied: which input a stage begins with.
struct StageCursor {
  int32_t leaf;
  int32_t stage;  // counted over all leaves

  // The first of the stage's inputs, and how many of them belong to its leaf (which may be none).
  OCTET_DEVICE int2 Inputs(const Linear16Kernel& k) const {
    if (k.x_by_steps) return make_int2(stage * kCuda16StageInputs, kCuda16StageInputs);
    const int32_t input =
        k.inputs.leaf_input[leaf] + (stage - 2 * k.inputs.leaf_block[leaf]) * kCuda16StageInputs;
    return make_int2(input, k.inputs.leaf_input[leaf + 1] - input);
  }
  OCTET_DEVICE void Advance(const Linear16Kernel& k) {
    if (++stage == 2 * k.inputs.leaf_block[leaf + 1]) ++leaf;
  }
};

// Copies this thread's share of a stage's activations: `threads` threads, tokens [token, token +
// kTokens). Tokens beyond the rows, and inputs beyond the leaf, are zeros.
template <int kTokens>
OCTET_DEVICE void CopyTokens(const Linear16Kernel& k, const StageCursor& cursor, int64_t token,
                             int thread, int threads, std::byte* to) {
  const int2 inputs = cursor.Inputs(k);
#pragma unroll 1
  for (int i = thread; i < kTokens * 8; i += threads) {
    const int n = i / 8;
    const int chunk = i % 8;
    const bool full = token + n < k.rows && chunk * 8 < inputs.y;
    const uint16_t* from = full ? k.x + (token + n) * k.x_stride + inputs.x + chunk * 8 : k.x;
    hw::cp_async16(to + ChunkAt(n, chunk), from, full);
  }
}

// How many segments end in a stage, and with which of its steps.
OCTET_DEVICE int SegmentEnds(const Linear16Kernel& k, int stage) {
  return k.inputs.segment_ends[stage / 2] >> (stage % 2 * kCuda16StageSteps) & 15;
}

// The sums of x of the segments that end in a half, [slots][kTokens].
template <int kTokens>
OCTET_DEVICE void CopySums(const Linear16Kernel& k, int slots, int32_t segment, int64_t token,
                           int thread, int threads, float* to) {
#pragma unroll 1
  for (int i = thread; i < slots * (kTokens / 4); i += threads) {
    const int slot = i / (kTokens / 4);
    const int chunk = i % (kTokens / 4);
    hw::cp_async16(to + slot * kTokens + chunk * 4,
                   k.x_sums + (segment + slot) * k.x_sums_stride + token + chunk * 4);
  }
}

template <typename Tile>
void CheckTile(const Linear16Plan& plan) {
  OCTET_CHECK_EQ(plan.tile.outputs, Tile::kOutputs);
  OCTET_CHECK_EQ(plan.tile.tokens, Tile::kTokens);
  OCTET_CHECK_EQ(plan.tile.stages, Tile::kStages);
}

// Blocks of a launch: no more than can be resident, as each goes on to further items by itself.
inline dim3 Linear16Grid(const Linear16Plan& plan, Stream& stream) {
  const int64_t resident = int64_t{plan.tile.resident} * stream.info().sm_count;
  return dim3(static_cast<unsigned>(std::min({plan.items, plan.grid_max, resident})));
}

}  // namespace octet::kernels::cuda
