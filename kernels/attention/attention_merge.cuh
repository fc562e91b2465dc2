// What a kernel of attention is given, how results of blocks and splits are merged, and where they
// go. Merging is one function everywhere: a row's bits do not depend on who merges.
#pragma once

#include "kernels/attention/attention_block.cuh"

namespace octet::kernels {

struct AttentionKernelArgs {
  const std::byte* cache = nullptr;
  int64_t block_bytes = 0;
  const int32_t* block_tables = nullptr;
  const float* q = nullptr;
  int64_t q_stride = 0;
  float* out = nullptr;          // or
  uint16_t* out_bf16 = nullptr;  // where not null
  int64_t out_stride = 0;
  float scale = 0;
  int32_t window = 0;
  int32_t stages = 0;
  const int32_t* begin = nullptr;  // [workers + 1] of the list of items
  const HeadGroup* groups = nullptr;
  const AttentionItem* items = nullptr;
  uint32_t* tickets = nullptr;
  float* states = nullptr;
};

OCTET_DEVICE_BODY int WindowOf(const AttentionKernelArgs& args) {
  return args.window > 0 ? args.window : kNoWindow;
}

OCTET_DEVICE_BODY TileVectors VectorsOf(const AttentionKernelArgs& args, const AttentionItem& item,
                                        int group, int dim) {
  TileVectors tile;
  const int64_t column = int64_t{args.groups[group].head_begin + item.head_first} * dim;
  tile.q = args.q + item.row * args.q_stride + column;
  tile.q_stride = args.q_stride;
  tile.count = item.rows * item.heads;
  tile.heads = item.heads;
  tile.first_position = item.first_position;
  tile.window = WindowOf(args);
  tile.scale = args.scale;
  return tile;
}

// Blocks [first, last] that an item walks, and the tokens [begin, end) its vectors see at all.
struct ItemRange {
  int first = 0;
  int last = 0;
  int begin = 0;
  int end = 0;
};
OCTET_DEVICE_BODY ItemRange RangeOf(const AttentionItem& item, int window) {
  ItemRange range;
  range.end = item.first_position + item.rows;
  range.begin = window > 0 ? max(0, item.first_position + 1 - window) : 0;
  range.first = max(range.begin / kBlockTokens, item.split_begin * kSplitBlocks);
  range.last = min((range.end - 1) / kBlockTokens, item.split_end * kSplitBlocks - 1);
  return range;
}

// Adding a part whose greatest score is `most` to a state whose greatest is `state_most`: the
// state's sums are multiplied by `keep`, the part's by `add`. An empty part changes no bit: -0
// times the zeros that it holds is -0, which any sum absorbs.
struct MergeFactors {
  float keep = 1;
  float add = 0;
};
OCTET_DEVICE_BODY MergeFactors MergeMost(float& state_most, float most) {
  const float next = fmaxf(state_most, most);
  const float reference = next == -kInfinity ? 0.0f : next;
  MergeFactors factors;
  factors.keep = hw::exp2(state_most - reference);
  factors.add = most == -kInfinity ? -0.0f : hw::exp2(most - reference);
  state_most = next;
  return factors;
}

// Part of one vector's state in one thread: four values that share a group.
struct QuadState {
  float most = -kInfinity;
  float sum = 0;
  float zeros = 0;
  float values[4] = {};

  OCTET_DEVICE_BODY void Add(float part_most, float part_sum, float part_zeros, float step,
                             const float4& part) {
    const MergeFactors factors = MergeMost(most, part_most);
    sum = fmaf(sum, factors.keep, part_sum * factors.add);
    zeros = fmaf(zeros, factors.keep, part_zeros * factors.add);
    const float scale = step * factors.add;
    values[0] = fmaf(values[0], factors.keep, part.x * scale);
    values[1] = fmaf(values[1], factors.keep, part.y * scale);
    values[2] = fmaf(values[2], factors.keep, part.z * scale);
    values[3] = fmaf(values[3], factors.keep, part.w * scale);
  }
  OCTET_DEVICE_BODY void Add(const QuadState& part) {
    Add(part.most, part.sum, part.zeros, 1.0f,
        make_float4(part.values[0], part.values[1], part.values[2], part.values[3]));
  }
};

OCTET_DEVICE_BODY float Finished(float value, float zeros, float inverse) {
  return (value + zeros) * inverse;
}

// Where vector `vector` of a tile begins in the output, in elements.
OCTET_DEVICE_BODY int64_t OutputOf(const AttentionKernelArgs& args, const AttentionItem& item,
                                   int group, int vector, int dim) {
  const int head = args.groups[group].head_begin + item.head_first + vector % item.heads;
  return (item.row + vector / item.heads) * args.out_stride + int64_t{head} * dim;
}

template <class Shape>
OCTET_DEVICE_BODY void WriteQuad(const AttentionKernelArgs& args, int64_t vector_begin, int quad,
                                 const QuadState& state) {
  const float inverse = 1.0f / state.sum;
  float x[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) x[i] = Finished(state.values[i], state.zeros, inverse);
  const int64_t at = vector_begin + 4 * quad;
  if (args.out_bf16 != nullptr) {
    *reinterpret_cast<uint2*>(args.out_bf16 + at) =
        make_uint2(hw::bf16x2(x[0], x[1]), hw::bf16x2(x[2], x[3]));
  } else {
    *reinterpret_cast<float4*>(args.out + at) = make_float4(x[0], x[1], x[2], x[3]);
  }
}

// The state of (split, vector) of a cut tile in the workspace: values, maximum, sum, zeros
// [groups].
template <class Shape>
OCTET_DEVICE_BODY float* StateOf(const AttentionKernelArgs& args, const AttentionItem& item,
                                 int split, int vector) {
  const int64_t index =
      item.state + int64_t{split - item.row_split_begin} * item.rows * item.heads + vector;
  return args.states + index * (Shape::kDim + kStateTail);
}

template <class Shape>
OCTET_DEVICE_BODY int GroupOfQuad(int quad) {
  return Shape::kInt4 ? quad / 8 : 0;
}

template <class Shape>
OCTET_DEVICE_BODY void StoreQuad(float* state, int quad, const QuadState& quad_state) {
  *reinterpret_cast<float4*>(state + 4 * quad) = make_float4(
      quad_state.values[0], quad_state.values[1], quad_state.values[2], quad_state.values[3]);
  float* tail = state + Shape::kDim;
  if (quad == 0) {
    *reinterpret_cast<float2*>(tail) = make_float2(quad_state.most, quad_state.sum);
  }
  const int group = GroupOfQuad<Shape>(quad);
  if (quad == 8 * group) tail[2 + group] = quad_state.zeros;
}

// Called by `kThreads` threads when their part of a cut tile is in the workspace; `meet` is a
// barrier of theirs. The last to arrive merge all splits in order and write the rows.
template <class Shape, int kThreads, typename Meet>
OCTET_DEVICE_BODY void ArriveAndMerge(const AttentionKernelArgs& args, const AttentionItem& item,
                                      uint32_t* last, const Meet& meet) {
  const auto thread = static_cast<int>(threadIdx.x);
  meet();
  if (thread == 0) {
    uint32_t* ticket = args.tickets + item.ticket;
    const uint32_t before = hw::atom_add_acq_rel(ticket, 1);
    *last = before + 1 == static_cast<uint32_t>(item.parts) ? 1 : 0;
    if (*last != 0) *ticket = 0;  // for the next launch
  }
  meet();
  if (*last == 0) return;
  constexpr int kQuads = Shape::kDim / 4;
  const int vectors = item.rows * item.heads;
  for (int i = thread; i < vectors * kQuads; i += kThreads) {
    const int vector = i / kQuads;
    const int quad = i % kQuads;
    QuadState row;
    for (int split = item.row_split_begin; split < item.row_split_end; ++split) {
      const float* state = StateOf<Shape>(args, item, split, vector);
      const float2 tail = *reinterpret_cast<const float2*>(state + Shape::kDim);
      row.Add(tail.x, tail.y, state[Shape::kDim + 2 + GroupOfQuad<Shape>(quad)], 1.0f,
              *reinterpret_cast<const float4*>(state + 4 * quad));
    }
    WriteQuad<Shape>(args, OutputOf(args, item, item.group_begin, vector, Shape::kDim), quad, row);
  }
}

}  // namespace octet::kernels
