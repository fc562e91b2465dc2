// The packed weights of one rank, and the shapes they were packed by. All bytes lie in one arena
// whose size is WeightPlan::bytes, computed from the spec alone before anything is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/dtype.h"
#include "kernels/linear/linear.h"
#include "worker/model/model_spec.h"
#include "worker/model/shard_plan.h"

namespace octet::worker {

// How one linear is kept in memory.
struct KeptLinear {
  kernels::WeightFormat format = kernels::WeightFormat::kInt4;
  int64_t group = 128;
  bool asymmetric = false;
  kernels::ScaleFormat scale_format = kernels::ScaleFormat::kF16;
  bool operator==(const KeptLinear&) const = default;
};

// A row-parallel linear whose inputs are in any group, on the CPU: each leaf keeps its inputs,
// sorted by group, and every run of one group is filled up to whole groups of `linear.group`
// places. A leaf has `leaf_places` of them, the most that any leaf of any layer needs; places
// without an input read 0.
struct KeptRuns {
  KeptLinear linear;
  int64_t leaf_places = 0;
  bool operator==(const KeptRuns&) const = default;
};

// The linears of a checkpoint that is quantized already, as they are kept: exactly what it stores.
// An empty one is as the rest of WeightOptions says. Those of the layers are all empty or all
// there.
struct StoredLinears {
  kernels::WeightFormat format = kernels::WeightFormat::kInt4;  // of those that are packed
  std::optional<KeptLinear> qkv, o, gate_up, down, head;
  // Act-order: the inputs of qkv and gate_up are kept sorted by group, in another order for each
  // layer, and those of down by the order of the outputs of gate_up.
  bool ordered_inputs = false;
  // Of the attention output with act-order; `o` is what a device keeps, which has no such form.
  std::optional<KeptRuns> o_runs;
  bool has_layers() const { return qkv.has_value(); }
  std::string Digest() const;  // equal texts: equal linears
  bool operator==(const StoredLinears&) const = default;
};

// How weights are kept in memory. Codes made on load (round to nearest) use `group`.
struct WeightOptions {
  kernels::WeightFormat layers = kernels::WeightFormat::kInt4;  // projections of the layers
  kernels::WeightFormat head = kernels::WeightFormat::kInt8;    // vocabulary head
  DType embedding = DType::kBF16;                               // as the checkpoint stores it
  int64_t group = 128;
  // The KV cache is int8 with the checkpoint's own scales, which are then a part of the weights.
  bool static_kv = false;
  StoredLinears stored;
  // Of quantized linears; float weights beside kCuda8 lie as kCuda16, for they take bf16 rows.
  kernels::WeightLayout layout = kernels::WeightLayout::kCpuPanels;
};

// Shapes of one rank, the same for every layer.
struct DecoderShapes {
  kernels::LinearShape qkv;      // outputs (heads + 2 kv_heads) * head_dim: q, then k, then v
  kernels::LinearShape o;        // inputs heads * head_dim, leaves of the attention tree
  kernels::LinearShape gate_up;  // outputs 2 * ffn: gate, then up; ffn where there is no gate
  kernels::LinearShape down;     // inputs ffn, leaves of the ffn tree
  kernels::LinearShape head;     // outputs vocab
  bool ordered_inputs = false;   // of qkv and gate_up: LayerWeights has their orders
  bool o_in_runs = false;        // inputs are the places of KeptRuns: LayerWeights has their order
  static DecoderShapes Make(const ModelSpec& spec, const ShardPlan& shard,
                            const WeightOptions& options);
};

// A norm over hidden.
struct NormWeights {
  const float* weight = nullptr;  // [hidden] f32
  const float* bias = nullptr;    // [hidden] f32; null for an RMS norm
};

struct LayerWeights {
  NormWeights attention_norm, mlp_norm;
  // Where qkv and gate_up find their inputs in the normed rows, [hidden]; null: in order.
  const int32_t* qkv_order = nullptr;
  const int32_t* gate_up_order = nullptr;
  // Where o finds its inputs in the rows of attention, [inputs of o], -1: nowhere; null: in order.
  const int32_t* o_order = nullptr;
  const std::byte* qkv = nullptr;   // packed
  const float* qkv_bias = nullptr;  // [(heads + 2 kv_heads) * head_dim] f32 or null
  const float* q_norm = nullptr;    // [head_dim] f32 or null
  const float* k_norm = nullptr;    // [head_dim] f32 or null
  // [(heads + 2 kv_heads) * head_dim] f32 or null: RopeAppendKvArgs::key_guard.
  const float* key_guard = nullptr;
  // [kv_heads, 2, 2] f16 bits or null: RopeAppendKvArgs::static_pairs. They were made for keys as
  // they are, so that nothing guards them.
  const uint16_t* kv_scales = nullptr;
  const std::byte* o = nullptr;
  const float* o_bias = nullptr;  // [hidden] f32 or null; added once, after the all-reduce
  const std::byte* gate_up = nullptr;
  const float* gate_up_bias = nullptr;  // [outputs of gate_up] f32 or null
  const std::byte* down = nullptr;
  const float* down_bias = nullptr;  // as o_bias
};

// One thing that the arena was asked for. Together they are the arena, in order.
struct WeightPart {
  std::string name;   // "layer 3 gate_up"
  int64_t begin = 0;  // bytes from the start of the arena
  int64_t bytes = 0;
};

struct DecoderWeights {
  DecoderShapes shapes;
  std::vector<LayerWeights> layers;
  const std::byte* embedding = nullptr;  // [vocab of this rank, hidden]
  DType embedding_dtype = DType::kBF16;
  const std::byte* positions = nullptr;  // [position_rows, hidden] as the embedding, or null
  NormWeights final_norm;
  const std::byte* head = nullptr;  // packed
  std::vector<WeightPart> parts;    // of the arena
  Arena arena;                      // owns all of the above
};

// Whether keys may have outliers that loading guards against: they have a bias, which no norm
// follows, and are rotated.
bool HasKeyGuard(const ModelSpec& spec);

// Bytes of LayerWeights::kv_scales.
int64_t KvScaleBytes(const ShardPlan& shard);

// PackedLinearBytes, and 0 for a linear of which this rank holds nothing.
int64_t PackedBytes(const kernels::LinearShape& shape);

// Bytes the arena takes, by part, from the config alone.
struct WeightPlan {
  int64_t layer_bytes = 0;  // all layers
  int64_t embedding_bytes = 0;
  int64_t head_bytes = 0;
  int64_t position_bytes = 0;  // the whole table, on every rank
  int64_t norm_bytes = 0;      // final norm
  int64_t parts = 0;           // that the arena is asked for, one after the other
  int64_t bytes() const {
    return layer_bytes + embedding_bytes + head_bytes + position_bytes + norm_bytes;
  }
  static WeightPlan Make(const ModelSpec& spec, const ShardPlan& shard,
                         const WeightOptions& options);
};

}  // namespace octet::worker
