// Where everything of a rank's weights goes: the arena with its parts taken in one order, and the
// list of pieces to fill. A piece names its tensor and the rows of it that this rank holds. Who
// fills them (a checkpoint, made-up numbers) is not known here.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "worker/model/decoder_weights.h"
#include "worker/model/model_spec.h"
#include "worker/model/shard_plan.h"

namespace octet::worker {

// Rows [row_begin, row_end) of a module become rows [packed_row, ...) of one packed linear. Its
// columns follow from the shape. A part that lies in several runs of rows is several pieces.
struct LinearPiece {
  std::string module;  // its tensors are `module`.weight, or those of a quantized form
  kernels::LinearShape DecoderShapes::*shape = nullptr;
  std::byte* packed = nullptr;
  int64_t packed_row = 0;
  int64_t row_begin = 0;
  int64_t row_end = 0;
  int64_t inputs = 0;  // unsharded

  std::string weight() const { return module + ".weight"; }
};

enum class VectorKind : uint8_t { kNorm, kBias };

// Elements [begin, end) of a tensor, as f32.
struct VectorPiece {
  std::string tensor;
  VectorKind kind = VectorKind::kNorm;
  int64_t begin = 0;
  int64_t end = 0;
  float* out = nullptr;
};

// Rows of the embedding, or of the position table, as they are stored.
struct TablePiece {
  std::string tensor;
  int64_t row_begin = 0;
  int64_t row_end = 0;
  std::byte* out = nullptr;
};

// In which order a linear of a layer finds its inputs: [hidden], or of o [places of this rank].
struct OrderPiece {
  kernels::LinearShape DecoderShapes::*shape = nullptr;
  int64_t layer = 0;
  int32_t* out = nullptr;
};

struct WeightAssembly {
  DecoderWeights weights;  // as `memory` was until the pieces are filled
  std::vector<LinearPiece> linears;
  std::vector<VectorPiece> vectors;
  std::vector<TablePiece> tables;
  // [layers] of q_norm and k_norm, [head_dim] each, or empty.
  std::vector<std::pair<float*, float*>> head_norms;
  std::vector<float*> key_guards;    // [layers] of LayerWeights::key_guard, or empty
  std::vector<uint16_t*> kv_scales;  // [layers] of LayerWeights::kv_scales, or empty
  std::vector<OrderPiece> orders;    // none without act-order

  // Takes exactly WeightPlan::bytes from `memory`, which has so many.
  static WeightAssembly Make(const ModelSpec& spec, const ShardPlan& shard,
                             const WeightOptions& options, Buffer memory);
  // Of new memory, zeroed.
  static WeightAssembly Make(const ModelSpec& spec, const ShardPlan& shard,
                             const WeightOptions& options);
};

// A tensor that a checkpoint of `spec` must have; cols 0: a vector of `rows` elements.
struct ExpectedTensor {
  std::string name;
  int64_t rows = 0;
  int64_t cols = 0;
  bool in_layer = false;
};
std::vector<ExpectedTensor> ExpectedTensors(const ModelSpec& spec);

}  // namespace octet::worker
