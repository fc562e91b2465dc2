// What the linears for few rows share: a block's share of the work, the ring that a warp fills
// itself, its sums that wait, and the sum of the parts.
#pragma once

#include "base/device/primitives.cuh"
#include "kernels/linear/few_deal.h"
#include "kernels/linear/four_sums.cuh"

namespace octet::kernels::cuda {

// A block's share of the work, and a warp's. Grid: the blocks of a cluster, columns of panels, row
// tiles.
struct FewBlock {
  int32_t leaf_begin;  // of the block's parts
  int32_t leaf_end;
  int32_t panel_begin;
  int32_t panel_end;
  int64_t row;   // the first
  int32_t rows;  // of the tile's, those that there are
  // The warp's.
  int32_t part;
  int32_t own_leaf_begin;
  int32_t own_leaf_end;
  int32_t panel;  // the first
  int32_t panel_step;

  // `warp`: of those that the block is dealt to.
  OCTET_DEVICE static FewBlock Of(const FewDeal& deal, const LeafParts& parts, int64_t rows,
                                  int tile_rows,
                                  int32_t warp = static_cast<int32_t>(threadIdx.x) / 32) {
    FewBlock block;
    const auto first = static_cast<int32_t>(blockIdx.x) * deal.split;
    const auto column = static_cast<int32_t>(blockIdx.y);
    const int32_t group = warp / deal.split;
    block.leaf_begin = parts.leaf_begin[first];
    block.leaf_end = parts.leaf_begin[first + deal.split];
    block.panel_begin = column * deal.column_panels + min(column, deal.longer_columns);
    block.panel_end = block.panel_begin + deal.column_panels + (column < deal.longer_columns);
    block.row = static_cast<int64_t>(blockIdx.z) * tile_rows;
    block.rows = static_cast<int32_t>(min(rows - block.row, static_cast<int64_t>(tile_rows)));
    block.part = first + warp - group * deal.split;
    block.own_leaf_begin = parts.leaf_begin[block.part];
    block.own_leaf_end = parts.leaf_begin[block.part + 1];
    block.panel = block.panel_begin + group;
    block.panel_step = deal.warps / deal.split;
    return block;
  }
};

// The blocks of inputs of a warp's panels, one after the other.
struct FewWalk {
  const std::byte* from;  // the next block
  int32_t next = 0;       // its number in the panel
  int32_t count;          // of a panel
  int32_t panel;
  int32_t panel_end;
  int32_t panel_step;
  int32_t bytes;  // of a block
  int64_t jump;   // from the end of a panel's blocks to the next panel's

  // Of `block_count` blocks from `first_block` on, in every panel of the warp's.
  OCTET_DEVICE FewWalk(const FewBlock& block, const std::byte* weights, int64_t panel_bytes,
                       int32_t block_bytes, int32_t first_block, int32_t block_count)
      : from(weights + block.panel * panel_bytes + int64_t{first_block} * block_bytes),
        count(block_count),
        panel(block.panel),
        panel_end(block.panel_end),
        panel_step(block.panel_step),
        bytes(block_bytes),
        jump(block.panel_step * panel_bytes - int64_t{block_count} * block_bytes) {}

  OCTET_DEVICE bool ended() const { return panel >= panel_end; }
  OCTET_DEVICE void Advance() {
    from += bytes;
    if (++next < count) return;
    next = 0;
    from += jump;
    panel += panel_step;
  }
  // Asks for what is left of the panel, up to `most` bytes, to be in L2.
  OCTET_DEVICE void AskAhead(int32_t most) const {
    const int32_t rest = min(most / bytes, count - next) * bytes;
    if (!ended() && rest > 0) hw::bulk_prefetch(from, static_cast<uint32_t>(rest));
  }
};

// Copies the blocks of a walk whole to the warp's ring of stages. All lanes follow; the first
// copies.
class FewRing {
 public:
  OCTET_DEVICE FewRing(const FewDeal& deal, const FewWalk& walk, std::byte* stages,
                       int32_t stage_bytes, uint64_t* full)
      : walk_(walk),
        stages_(stages),
        full_(full),
        stage_bytes_(stage_bytes),
        stage_count_(deal.stages) {
    if (Lane() == 0) {
      for (int i = 0; i < stage_count_; ++i) hw::mbar_init(full_ + i, 1);
      hw::fence_mbar_init();
    }
    __syncwarp();
  }

  // Fills the ring, and asks for what follows in the first panel, up to `ahead` bytes, to be in L2.
  OCTET_DEVICE void Fill(int32_t ahead) {
#pragma unroll 1
    for (int i = 0; i < stage_count_; ++i) Put(i);
    if (Lane() == 0) walk_.AskAhead(ahead);
  }
  // The next block, when it has come.
  OCTET_DEVICE const std::byte* Take() const {
    hw::mbar_wait(full_ + slot_, parity_);
    return stages_ + slot_ * stage_bytes_;
  }
  // All lanes have read it: another takes its place.
  OCTET_DEVICE void GiveBack() {
#if OCTET_PLANTED_BUG != 16
    __syncwarp();
#endif
    Put(slot_);
    if (++slot_ == stage_count_) {
      slot_ = 0;
      parity_ ^= 1;
    }
  }

 private:
  OCTET_DEVICE static int Lane() { return static_cast<int>(threadIdx.x) % 32; }

  // Asks for the next block, if there is one.
  OCTET_DEVICE void Put(int slot) {
    if (walk_.ended()) return;
    if (Lane() == 0) {
      hw::mbar_arrive_expect_tx(full_ + slot, static_cast<uint32_t>(walk_.bytes));
      hw::bulk_load(stages_ + slot * stage_bytes_, walk_.from, static_cast<uint32_t>(walk_.bytes),
                    full_ + slot);
    }
    walk_.Advance();
  }

  FewWalk walk_;
  std::byte* stages_;
  uint64_t* full_;  // [stages]
  int32_t stage_bytes_;
  int32_t stage_count_;
  int32_t slot_ = 0;
  uint32_t parity_ = 0;
};

// A lane's own sums of a panel that wait for their right neighbour: the topmost in registers, if
// there are enough of them, the others in places of shared memory that no other lane touches.
template <int kSlabs, int kValues, bool kTopInRegisters_ = FewTopInRegisters(kValues * 2)>
class FewSums {
 public:
  using Values = float[kSlabs][kValues];
  static constexpr int kPlaces = kSlabs * kValues / 4 * 32;  // float4 of a warp and level
  static constexpr bool kTopInRegisters = kTopInRegisters_;

  OCTET_DEVICE explicit FewSums(float4* places)
      : places_(places + static_cast<int>(threadIdx.x) % 32) {}

  OCTET_DEVICE void Push(Values& sums, int merges) {
    if constexpr (kTopInRegisters) {
#pragma unroll 1
      for (int i = 0; i < merges; ++i) {
        if (!has_top_) Take(top_);
        has_top_ = false;
#pragma unroll
        for (int m = 0; m < kSlabs; ++m) {
#pragma unroll
          for (int v = 0; v < kValues; ++v) sums[m][v] = top_[m][v] + sums[m][v];
        }
      }
      if (has_top_) Put(top_);
      has_top_ = true;
#pragma unroll
      for (int m = 0; m < kSlabs; ++m) {
#pragma unroll
        for (int v = 0; v < kValues; ++v) top_[m][v] = sums[m][v];
      }
    } else {
#pragma unroll 1
      for (int i = 0; i < merges; ++i) {
        EachPlace(--held_, sums, [](const float4& left, float* v) {
          v[0] = left.x + v[0];
          v[1] = left.y + v[1];
          v[2] = left.z + v[2];
          v[3] = left.w + v[3];
        });
      }
      Put(sums);
    }
  }
  // Puts the only sum that is left in the lowest place, and forgets it.
  OCTET_DEVICE void PutLast() {
    if constexpr (kTopInRegisters) {
      Put(top_);
      has_top_ = false;
    }
    held_ = 0;
  }
  // store(i, values) of each sum that is left, which are none then.
  template <typename Store>
  OCTET_DEVICE void TakeEach(const Store& store) {
#pragma unroll 1
    for (int sum = held_ - (kTopInRegisters ? 0 : 1); sum >= 0; --sum) {
      if (!has_top_) Take(top_);
      has_top_ = false;
      store(sum, top_);
    }
  }

 private:
  template <typename Visit>
  OCTET_DEVICE void EachPlace(int level, Values& values, const Visit& visit) {
    constexpr int kOfSlab = kValues / 4;
#pragma unroll
    for (int i = 0; i < kSlabs * kOfSlab; ++i) {
      visit(places_[level * kPlaces + i * 32], &values[i / kOfSlab][i % kOfSlab * 4]);
    }
  }
  OCTET_DEVICE void Put(Values& values) {
    EachPlace(held_++, values,
              [](float4& to, const float* v) { to = make_float4(v[0], v[1], v[2], v[3]); });
  }
  OCTET_DEVICE void Take(Values& values) {
    EachPlace(--held_, values, [](const float4& from, float* v) {
      v[0] = from.x;
      v[1] = from.y;
      v[2] = from.z;
      v[3] = from.w;
    });
  }

  float4* places_;  // [level][kPlaces]
  int32_t held_ = 0;
  bool has_top_ = false;
  Values top_;
};

// What the parts leave: [sums, rows, outputs], and where their sum goes.
struct FewParts {
  const float* sums;
  const float* bias;  // or null
  float* out;         // [roots, rows, outputs]
  int64_t rows;
  int64_t outputs;
};

// Four values in a row, fewer at the end of the outputs.
OCTET_DEVICE float4 LoadFour(const float* from, int64_t outputs, int64_t left) {
  if (outputs % 4 == 0) return *reinterpret_cast<const float4*>(from);
  return make_float4(from[0], left > 1 ? from[1] : 0, left > 2 ? from[2] : 0,
                     left > 3 ? from[3] : 0);
}
OCTET_DEVICE void StoreFour(float* to, int64_t outputs, int64_t left, const float4& value) {
  if (outputs % 4 == 0) {
    *reinterpret_cast<float4*>(to) = value;
    return;
  }
  to[0] = value.x;
  if (left > 1) to[1] = value.y;
  if (left > 2) to[2] = value.z;
  if (left > 3) to[3] = value.w;
}

// Four outputs of a row.
struct FewQuad {
  int64_t output;
  int64_t at;    // in a sum
  int64_t left;  // outputs of the block's from `output` on
};
// What a thread adds of a column's panels.
struct FewShare {
  int64_t of_sum;
  int64_t row;
  int64_t output;
  int64_t output_end;
  int64_t outputs;
  int32_t quads;  // of a row
  int32_t begin;
  int32_t end;
  int32_t step;

  OCTET_DEVICE FewShare(const FewBlock& block, const FewParts& of)
      : of_sum(of.rows * of.outputs),
        row(block.row),
        output(int64_t{block.panel_begin} * kFewPanelOutputs),
        output_end(min(int64_t{block.panel_end} * kFewPanelOutputs, of.outputs)),
        outputs(of.outputs),
        quads(static_cast<int32_t>((output_end - output + 3) / 4)),
        step(static_cast<int32_t>(blockDim.x)) {
    const int32_t all = block.rows * quads;
    const auto blocks = static_cast<int32_t>(gridDim.x);
    const int32_t share = (all + blocks - 1) / blocks;
    const auto rank = static_cast<int32_t>(blockIdx.x);
    begin = rank * share + static_cast<int32_t>(threadIdx.x);
    end = min(all, (rank + 1) * share);
  }
  OCTET_DEVICE FewQuad Quad(int32_t i) const {
    const int64_t own = output + i % quads * 4;
    return {own, (row + i / quads) * outputs + own, output_end - own};
  }
};

// When all blocks of a column have stored what their parts leave: each of them adds its share of
// the column's panels, in the tree's order. `places` is shared memory that nothing else uses then,
// [depth of parts.rest][threads].
OCTET_DEVICE void AddFewParts(const LeafParts& parts, const FewBlock& block, const FewParts& of,
                              float4* places) {
#if OCTET_PLANTED_BUG == 18
  __syncthreads();
#else
  hw::cluster_sync();
#endif
  const auto thread = static_cast<int>(threadIdx.x);
  const auto threads = static_cast<int>(blockDim.x);
  const FewShare share(block, of);
#pragma unroll 1
  for (int32_t i = share.begin; i < share.end; i += share.step) {
    const FewQuad quad = share.Quad(i);
    int32_t held = 0;
    constexpr int kAtOnce = 8;  // loads under way
    const int32_t count = parts.rest.count;
#pragma unroll 1
    for (int32_t sum = 0; sum < count; sum += kAtOnce) {
      float4 values[kAtOnce];
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        values[j] = LoadFour(of.sums + min(sum + j, count - 1) * share.of_sum + quad.at, of.outputs,
                             quad.left);
      }
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        if (sum + j >= count) break;
        float4 value = values[j];
#pragma unroll 1
        for (int merge = 0; merge < parts.rest.merges[sum + j]; ++merge) {
          value = Plus(places[--held * threads + thread], value);
        }
        places[held++ * threads + thread] = value;
      }
    }
#pragma unroll 1
    for (int32_t root = 0; root < held; ++root) {
      float4 value = places[root * threads + thread];
      if (of.bias != nullptr) {
        value = Plus(value, LoadFour(of.bias + quad.output, of.outputs, quad.left));
      }
      StoreFour(of.out + root * share.of_sum + quad.at, of.outputs, quad.left, value);
    }
  }
}

}  // namespace octet::kernels::cuda
