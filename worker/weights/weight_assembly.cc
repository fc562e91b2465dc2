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
    if (spec_.qk_norm) {
      const std::pair<float*, float*> norms = {
          AddVector("q_norm", VectorKind::kNorm, name(names_.q_norm) + ".weight", hd),
          AddVector("k_norm", VectorKind::kNorm, name(names_.k_norm) + ".weight", hd)};
      assembly_.head_norms.push_back(norms);
      weights.q_norm = norms.first;
      weights.k_norm = norms.second;
    }
    if (HasKeyGuard(spec_)) {
      assembly_.key_guards.push_back(TakeFloats("key_guard", shapes_.qkv.outputs));
      weights.key_guard = assembly_.key_guards.back();
    }
    if (options_.static_kv) {
      std::byte* const pairs = TakePart("kv_scales", KvScaleBytes(shard_));
      assembly_.kv_scales.push_back(reinterpret_cast<uint16_t*>(pairs));
      weights.kv_scales = assembly_.kv_scales.back();
    }
    weights.o = AddLinear("o", &DecoderShapes::o, {o}, spec_.heads * hd);
    if (shapes_.o_in_runs) {
      weights.o_order = AddOrder("o_order", &DecoderShapes::o, layer, shapes_.o.inputs);
    }
    if (spec_.output_bias) weights.o_bias = AddBias("o_bias", {o});
    weights.mlp_norm = AddNorm("mlp_norm", name(names_.mlp_norm));
    const std::vector<Rows> gate_up =
        spec_.has_gate() ? std::vector<Rows>{gate, up} : std::vector<Rows>{up};
    weights.gate_up = AddLinear("gate_up", &DecoderShapes::gate_up, gate_up, spec_.hidden);
    if (spec_.gate_up_bias) weights.gate_up_bias = AddBias("gate_up_bias", gate_up);
    weights.down = AddLinear("down", &DecoderShapes::down, {down}, spec_.ffn);
    if (spec_.down_bias) weights.down_bias = AddBias("down_bias", {down});
    if (!shapes_.ordered_inputs) return;
    weights.qkv_order = AddOrder("qkv_order", &DecoderShapes::qkv, layer, spec_.hidden);
    weights.gate_up_order = AddOrder("gate_up_order", &DecoderShapes::gate_up, layer, spec_.hidden);
  }

  void AddEnds() {
    DecoderWeights& weights = assembly_.weights;
    prefix_.clear();
    weights.embedding =
        AddTable("embedding", names_.embedding, shard_.vocab_begin, shard_.vocab_end);
    weights.embedding_dtype = options_.embedding;
    if (spec_.position_rows > 0) {
      weights.positions = AddTable("positions", names_.positions, 0, spec_.position_rows);
    }
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

  const std::byte* AddTable(const char* part, const std::string& name, int64_t begin, int64_t end) {
    std::byte* const out =
        TakePart(part, (end - begin) * spec_.hidden * DTypeBytes(options_.embedding));
    assembly_.tables.push_back({name + ".weight", begin, end, out});
    return out;
  }

  float* AddVector(const char* part, VectorKind kind, const std::string& tensor, int64_t count) {
    float* const out = TakeFloats(part, count);
    assembly_.vectors.push_back({tensor, kind, 0, count, out});
    return out;
  }

  NormWeights AddNorm(const std::string& part, const std::string& name) {
    NormWeights norm;
    norm.weight = AddVector(part.c_str(), VectorKind::kNorm, name + ".weight", spec_.hidden);
    if (spec_.norm == NormType::kLayer) {
      norm.bias =
          AddVector((part + "_bias").c_str(), VectorKind::kBias, name + ".bias", spec_.hidden);
    }
    return norm;
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
                          int64_t layer, int64_t inputs) {
    auto* const out = reinterpret_cast<int32_t*>(TakePart(part, inputs * int64_t{sizeof(int32_t)}));
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

namespace {

// The tensors of one layer; the parts of one module add their rows to its tensors.
class LayerTensors {
 public:
  // layer -1: those of no layer.
  LayerTensors(int64_t layer, std::vector<ExpectedTensor>* tensors)
      : layer_(layer), tensors_(*tensors), first_(static_cast<ptrdiff_t>(tensors->size())) {}

  void Add(const std::string& name, int64_t rows, int64_t cols) {
    const std::string tensor = OfLayer(name, layer_);
    const auto known = std::find_if(tensors_.begin() + first_, tensors_.end(),
                                    [&](const ExpectedTensor& t) { return t.name == tensor; });
    if (known != tensors_.end()) {
      known->rows += rows;
    } else {
      tensors_.push_back({tensor, rows, cols, layer_ >= 0});
    }
  }

 private:
  int64_t layer_;
  std::vector<ExpectedTensor>& tensors_;
  ptrdiff_t first_;
};

void AddNormTensors(const ModelSpec& spec, const std::string& name, LayerTensors* to) {
  to->Add(name + ".weight", spec.hidden, 0);
  if (spec.norm == NormType::kLayer) to->Add(name + ".bias", spec.hidden, 0);
}

void AddLayerTensors(const ModelSpec& spec, const TensorNames& names, LayerTensors* to) {
  const int64_t q_rows = spec.heads * spec.head_dim;
  const int64_t kv_rows = spec.kv_heads * spec.head_dim;
  const struct {
    const RowSlot& slot;
    int64_t rows, cols;
    bool has_bias;
  } parts[] = {{names.q, q_rows, spec.hidden, spec.qkv_bias},
               {names.k, kv_rows, spec.hidden, spec.qkv_bias},
               {names.v, kv_rows, spec.hidden, spec.qkv_bias},
               {names.o, spec.hidden, q_rows, spec.output_bias},
               {names.gate, spec.ffn, spec.hidden, spec.gate_up_bias},
               {names.up, spec.ffn, spec.hidden, spec.gate_up_bias},
               {names.down, spec.hidden, spec.ffn, spec.down_bias}};
  AddNormTensors(spec, names.attention_norm, to);
  AddNormTensors(spec, names.mlp_norm, to);
  for (const auto& part : parts) {
    if (&part.slot == &names.gate && !spec.has_gate()) continue;
    to->Add(part.slot.module + ".weight", part.rows, part.cols);
    if (part.has_bias) to->Add(part.slot.module + ".bias", part.rows, 0);
  }
  if (!spec.qk_norm) return;
  to->Add(names.q_norm + ".weight", spec.head_dim, 0);
  to->Add(names.k_norm + ".weight", spec.head_dim, 0);
}

}  // namespace

std::vector<ExpectedTensor> ExpectedTensors(const ModelSpec& spec) {
  const TensorNames names = NamesOf(spec);
  std::vector<ExpectedTensor> tensors = {{names.embedding + ".weight", spec.vocab, spec.hidden}};
  if (spec.position_rows > 0) {
    tensors.push_back({names.positions + ".weight", spec.position_rows, spec.hidden});
  }
  LayerTensors ends(-1, &tensors);
  AddNormTensors(spec, names.final_norm, &ends);
  if (!spec.tied_embeddings) tensors.push_back({names.head + ".weight", spec.vocab, spec.hidden});
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    LayerTensors of_layer(layer, &tensors);
    AddLayerTensors(spec, names, &of_layer);
  }
  return tensors;
}

}  // namespace octet::worker
