#include "worker/weights/weight_assembly.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "worker/model/families/families.h"
#include "worker/model/tensor_names.h"

namespace octet::worker {
namespace {

// Takes the arena's parts and lists what fills them, one layer after the other.
class Assembler {
 public:
  Assembler(const ModelSpec& spec, const ShardPlan& shard, const WeightOptions& options,
            WeightAssembly* assembly)
      : spec_(spec),
        shard_(shard),
        options_(options),
        names_(NamesOf(spec)),
        assembly_(*assembly),
        shapes_(assembly->weights.shapes) {}

  void AddLayer(int64_t layer) {
    const auto name = [&](const std::string& of) { return OfLayer(of, layer); };
    const int64_t hd = spec_.head_dim;
    LayerWeights& weights = assembly_.weights.layers[layer];
    prefix_ = "layer " + std::to_string(layer) + " ";
    const Rows q = {&names_.q, layer, shard_.head_begin * hd, shard_.head_end * hd};
    const Rows k = {&names_.k, layer, shard_.kv_head_begin * hd, shard_.kv_head_end * hd};
    const Rows v = {&names_.v, layer, k.begin, k.end};
    const Rows gate = {&names_.gate, layer, shard_.ffn_begin, shard_.ffn_end};
    const Rows up = {&names_.up, layer, shard_.ffn_begin, shard_.ffn_end};
    const Rows o = {&names_.o, layer, 0, spec_.hidden};
    const Rows down = {&names_.down, layer, 0, spec_.hidden};

    weights.attention_norm = AddNorm("attention_norm", name(names_.attention_norm));
    weights.qkv = AddLinear("qkv", &DecoderShapes::qkv, {q, k, v}, spec_.hidden);
    if (spec_.qkv_bias) weights.qkv_bias = AddBias("qkv_bias", {q, k, v});
    weights.o = AddLinear("o", &DecoderShapes::o, {o}, spec_.heads * hd);
    if (spec_.output_bias) weights.o_bias = AddBias("o_bias", {o});
    weights.mlp_norm = AddNorm("mlp_norm", name(names_.mlp_norm));
    weights.gate_up = AddLinear("gate_up", &DecoderShapes::gate_up, {gate, up}, spec_.hidden);
    weights.down = AddLinear("down", &DecoderShapes::down, {down}, spec_.ffn);
    if (!shapes_.ordered_inputs) return;
    weights.qkv_order = AddOrder("qkv_order", &DecoderShapes::qkv, layer);
    weights.gate_up_order = AddOrder("gate_up_order", &DecoderShapes::gate_up, layer);
  }

  void AddEnds() {
    DecoderWeights& weights = assembly_.weights;
    prefix_.clear();
    std::byte* const table =
        TakePart("embedding", shard_.vocab() * spec_.hidden * DTypeBytes(options_.embedding));
    assembly_.embedding = {names_.embedding + ".weight", shard_.vocab_begin, shard_.vocab_end,
                           table};
    weights.embedding = table;
    weights.embedding_dtype = options_.embedding;
    weights.final_norm = AddNorm("final_norm", names_.final_norm);
    const RowSlot head = {.module = spec_.tied_embeddings ? names_.embedding : names_.head};
    weights.head = AddLinear("head", &DecoderShapes::head,
                             {Rows{&head, 0, shard_.vocab_begin, shard_.vocab_end}}, spec_.hidden);
  }

 private:
  // Rows of a part, wherever its module has them.
  struct Rows {
    const RowSlot* slot = nullptr;
    int64_t layer = 0;
    int64_t begin = 0;
    int64_t end = 0;

    std::vector<ModuleRows> Runs() const { return RowsOf(*slot, layer, begin, end); }
  };

  std::byte* TakePart(const char* part, int64_t bytes) {
    Arena& arena = assembly_.weights.arena;
    assembly_.weights.parts.push_back({prefix_ + part, arena.taken_bytes(), bytes});
    return arena.TakeBytes(bytes);
  }

  float* TakeFloats(const char* part, int64_t count) {
    return reinterpret_cast<float*>(TakePart(part, count * int64_t{sizeof(float)}));
  }

  const float* AddNorm(const char* part, const std::string& name) {
    float* const out = TakeFloats(part, spec_.hidden);
    assembly_.vectors.push_back({name + ".weight", VectorKind::kNorm, 0, spec_.hidden, out});
    return out;
  }

  const float* AddBias(const char* part, const std::vector<Rows>& parts) {
    int64_t count = 0;
    for (const Rows& rows : parts) count += rows.end - rows.begin;
    float* const out = TakeFloats(part, count);
    float* next = out;
    for (const Rows& rows : parts) {
      for (const ModuleRows& run : rows.Runs()) {
        assembly_.vectors.push_back(
            {run.module + ".bias", VectorKind::kBias, run.begin, run.end, next});
        next += run.end - run.begin;
      }
    }
    return out;
  }

  const int32_t* AddOrder(const char* part, kernels::LinearShape DecoderShapes::*shape,
                          int64_t layer) {
    auto* const out =
        reinterpret_cast<int32_t*>(TakePart(part, spec_.hidden * int64_t{sizeof(int32_t)}));
    assembly_.orders.push_back({shape, layer, out});
    return out;
  }

  const std::byte* AddLinear(const char* part, kernels::LinearShape DecoderShapes::*shape,
                             const std::vector<Rows>& parts, int64_t inputs) {
    std::byte* const packed = TakePart(part, PackedBytes(shapes_.*shape));
    int64_t packed_row = 0;
    for (const Rows& rows : parts) {
      for (const ModuleRows& run : rows.Runs()) {
        assembly_.linears.push_back(
            {run.module, shape, packed, packed_row, run.begin, run.end, inputs});
        packed_row += run.end - run.begin;
      }
    }
    OCTET_CHECK_EQ(packed_row, (shapes_.*shape).outputs);
    return packed;
  }

  const ModelSpec& spec_;
  const ShardPlan& shard_;
  const WeightOptions& options_;
  const TensorNames names_;
  WeightAssembly& assembly_;
  const DecoderShapes& shapes_;
  std::string prefix_;  // of the names of parts
};

}  // namespace

WeightAssembly WeightAssembly::Make(const ModelSpec& spec, const ShardPlan& shard,
                                    const WeightOptions& options) {
  return Make(spec, shard, options, Buffer(WeightPlan::Make(spec, shard, options).bytes()));
}

WeightAssembly WeightAssembly::Make(const ModelSpec& spec, const ShardPlan& shard,
                                    const WeightOptions& options, Buffer memory) {
  const WeightPlan plan = WeightPlan::Make(spec, shard, options);
  WeightAssembly assembly;
  assembly.weights.shapes = DecoderShapes::Make(spec, shard, options);
  assembly.weights.layers.resize(spec.layers);
  OCTET_CHECK_EQ(memory.bytes(), plan.bytes());
  assembly.weights.arena = Arena("weights", std::move(memory));
  Assembler assembler(spec, shard, options, &assembly);
  for (int64_t layer = 0; layer < spec.layers; ++layer) assembler.AddLayer(layer);
  assembler.AddEnds();
  OCTET_CHECK_EQ(assembly.weights.arena.taken_bytes(), plan.bytes());
  OCTET_CHECK_EQ(static_cast<int64_t>(assembly.weights.parts.size()), plan.parts);
  return assembly;
}

std::vector<ExpectedTensor> ExpectedTensors(const ModelSpec& spec) {
  const TensorNames names = NamesOf(spec);
  const int64_t q_rows = spec.heads * spec.head_dim;
  const int64_t kv_rows = spec.kv_heads * spec.head_dim;
  std::vector<ExpectedTensor> tensors = {{names.embedding + ".weight", spec.vocab, spec.hidden},
                                         {names.final_norm + ".weight", spec.hidden, 0}};
  if (!spec.tied_embeddings) tensors.push_back({names.head + ".weight", spec.vocab, spec.hidden});
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    const size_t first = tensors.size();
    // The parts of one module come one after the other and add their rows to its tensors.
    const auto add = [&](const RowSlot& slot, const char* suffix, int64_t rows, int64_t cols) {
      const std::string name = OfLayer(slot.module, layer) + suffix;
      const auto known =
          std::find_if(tensors.begin() + static_cast<ptrdiff_t>(first), tensors.end(),
                       [&](const ExpectedTensor& t) { return t.name == name; });
      if (known != tensors.end()) {
        known->rows += rows;
      } else {
        tensors.push_back({name, rows, cols});
      }
    };
    add({names.attention_norm}, ".weight", spec.hidden, 0);
    add(names.q, ".weight", q_rows, spec.hidden);
    add(names.k, ".weight", kv_rows, spec.hidden);
    add(names.v, ".weight", kv_rows, spec.hidden);
    add(names.o, ".weight", spec.hidden, q_rows);
    add({names.mlp_norm}, ".weight", spec.hidden, 0);
    add(names.gate, ".weight", spec.ffn, spec.hidden);
    add(names.up, ".weight", spec.ffn, spec.hidden);
    add(names.down, ".weight", spec.hidden, spec.ffn);
    if (spec.qkv_bias) {
      add(names.q, ".bias", q_rows, 0);
      add(names.k, ".bias", kv_rows, 0);
      add(names.v, ".bias", kv_rows, 0);
    }
    if (spec.output_bias) add(names.o, ".bias", spec.hidden, 0);
  }
  return tensors;
}

}  // namespace octet::worker
