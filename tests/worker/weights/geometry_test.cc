// The true shapes of 72B-class models at 1 to 16 ranks, from sparse files that have their headers
// and no bytes on disk: the ranks' pieces cover every tensor, no rank holds more than its share and
// a grain, and the planned bytes are what this file computes from the layout's description.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/temp_folder.h"
#include "worker/model/families/families.h"
#include "worker/weights/loader.h"
#include "worker/weights/round_to_nearest.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {
namespace {

constexpr int64_t kRanks = 16;
constexpr int64_t kGroup = 128;

// A published config.json, as far as it matters here. Source: the models' repositories.
struct Model {
  std::string name;
  nlohmann::json config;
  bool is_qwen1 = false;
  bool qkv_bias = false;
  int64_t layers, hidden, ffn, heads, kv_heads, head_dim, vocab;
};

std::vector<Model> Models() {
  const auto config = [](const char* architecture, const char* type) {
    return nlohmann::json{{"architectures", {architecture}}, {"model_type", type}};
  };
  Model qwen25 = {
      "Qwen2.5-72B", config("Qwen2ForCausalLM", "qwen2"), false, true, 80, 8192, 29568, 64, 8, 128,
      152064};
  Model llama3 = {
      "Llama-3-70B", config("LlamaForCausalLM", "llama"), false, false, 80, 8192, 28672, 64, 8, 128,
      128256};
  for (Model* m : {&qwen25, &llama3}) {
    m->config.update({{"num_hidden_layers", m->layers},
                      {"hidden_size", m->hidden},
                      {"intermediate_size", m->ffn},
                      {"num_attention_heads", m->heads},
                      {"num_key_value_heads", m->kv_heads},
                      {"vocab_size", m->vocab},
                      {"max_position_embeddings", 8192}});
  }
  Model qwen = {
      "Qwen-72B", config("QWenLMHeadModel", "qwen"), true, true, 80, 8192, 24576, 64, 64, 128,
      152064};
  qwen.config.update({{"num_hidden_layers", 80},
                      {"hidden_size", 8192},
                      {"intermediate_size", 49152},
                      {"num_attention_heads", 64},
                      {"kv_channels", 128},
                      {"vocab_size", 152064},
                      {"seq_length", 32768},
                      {"max_position_embeddings", 32768},
                      {"layer_norm_epsilon", 1e-6},
                      {"rotary_emb_base", 1000000},
                      {"rotary_pct", 1.0},
                      {"no_bias", true},
                      {"use_dynamic_ntk", false},
                      {"use_logn_attn", false}});
  return {qwen, qwen25, llama3};
}

// A tensor as the model's own files have it; cols 0: a vector.
struct Named {
  std::string name;
  int64_t rows = 0;
  int64_t cols = 0;
  bool is_linear = false;  // of a layer
};

std::vector<Named> TensorsOf(const Model& m) {
  const int64_t q = m.heads * m.head_dim, kv = m.kv_heads * m.head_dim;
  std::vector<Named> out;
  for (int64_t i = 0; i < m.layers; ++i) {
    const std::string at =
        (m.is_qwen1 ? "transformer.h." : "model.layers.") + std::to_string(i) + ".";
    if (m.is_qwen1) {
      out.insert(out.end(), {{at + "ln_1.weight", m.hidden},
                             {at + "ln_2.weight", m.hidden},
                             {at + "attn.c_attn.bias", q + 2 * kv},
                             {at + "attn.c_attn.weight", q + 2 * kv, m.hidden, true},
                             {at + "attn.c_proj.weight", m.hidden, q, true},
                             {at + "mlp.w1.weight", m.ffn, m.hidden, true},
                             {at + "mlp.w2.weight", m.ffn, m.hidden, true},
                             {at + "mlp.c_proj.weight", m.hidden, m.ffn, true}});
      continue;
    }
    out.insert(out.end(), {{at + "input_layernorm.weight", m.hidden},
                           {at + "post_attention_layernorm.weight", m.hidden},
                           {at + "self_attn.q_proj.weight", q, m.hidden, true},
                           {at + "self_attn.k_proj.weight", kv, m.hidden, true},
                           {at + "self_attn.v_proj.weight", kv, m.hidden, true},
                           {at + "self_attn.o_proj.weight", m.hidden, q, true},
                           {at + "mlp.gate_proj.weight", m.ffn, m.hidden, true},
                           {at + "mlp.up_proj.weight", m.ffn, m.hidden, true},
                           {at + "mlp.down_proj.weight", m.hidden, m.ffn, true}});
    if (!m.qkv_bias) continue;
    out.insert(out.end(), {{at + "self_attn.q_proj.bias", q},
                           {at + "self_attn.k_proj.bias", kv},
                           {at + "self_attn.v_proj.bias", kv}});
  }
  const std::string at = m.is_qwen1 ? "transformer." : "model.";
  out.insert(out.end(),
             {{at + (m.is_qwen1 ? "ln_f.weight" : "norm.weight"), m.hidden},
              {at + (m.is_qwen1 ? "wte.weight" : "embed_tokens.weight"), m.vocab, m.hidden},
              {"lm_head.weight", m.vocab, m.hidden}});
  return out;
}

// A file with the header of all tensors, and as long as they need, of which nothing is written.
void WriteSparse(const Model& m, bool gptq, const test::TempFolder& folder) {
  nlohmann::json header;
  int64_t end = 0;
  const auto add = [&](const std::string& name, const char* type, std::vector<int64_t> shape,
                       int64_t element_bytes) {
    int64_t bytes = element_bytes;
    for (const int64_t dim : shape) bytes *= dim;
    header[name] = {{"dtype", type}, {"shape", shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  };
  for (const Named& tensor : TensorsOf(m)) {
    if (!gptq || !tensor.is_linear) {
      add(tensor.name, "BF16",
          tensor.cols == 0 ? std::vector{tensor.rows} : std::vector{tensor.rows, tensor.cols}, 2);
      continue;
    }
    const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    const int64_t groups = (tensor.cols + kGroup - 1) / kGroup;
    add(module + ".qweight", "I32", {tensor.cols / 8, tensor.rows}, 4);
    add(module + ".qzeros", "I32", {groups, tensor.rows / 8}, 4);
    add(module + ".scales", "F16", {groups, tensor.rows}, 2);
  }
  std::string text = header.dump();
  text.resize(AlignUp(static_cast<int64_t>(text.size()), 8), ' ');
  const uint64_t length = text.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  folder.Write("model.safetensors", bytes + text);
  ASSERT_EQ(
      truncate(folder.File("model.safetensors").c_str(), static_cast<off_t>(8 + text.size()) + end),
      0);
  nlohmann::json config = m.config;
  if (gptq) {
    config["quantization_config"] = {
        {"quant_method", "gptq"}, {"bits", 4},   {"group_size", kGroup},
        {"desc_act", false},      {"sym", true}, {"checkpoint_format", "gptq_v2"}};
  }
  folder.Write("config.json", config.dump());
}

// Memory of this size that is never touched.
Buffer Untouched(int64_t bytes) {
  void* const data =
      mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  EXPECT_NE(data, MAP_FAILED);
  return Buffer::OfMapping(static_cast<std::byte*>(data), bytes);
}

// How often each of a range of indices is covered: the change at every border.
class Cover {
 public:
  void Add(int64_t begin, int64_t end) {
    if (begin == end) return;
    ++change_[begin];
    --change_[end];
  }
  // Every index of [0, count) so often, by how often ranges were added that hold it.
  void Expect(int64_t count, int64_t least, int64_t most, const std::string& what) const {
    int64_t depth = 0, at = 0;
    for (const auto& [index, change] : change_) {
      if (index > at) {
        EXPECT_GE(depth, least) << what << " [" << at << ", " << index << ")";
        EXPECT_LE(depth, most) << what << " [" << at << ", " << index << ")";
      }
      at = index;
      depth += change;
    }
    EXPECT_EQ(at, count) << what;
    EXPECT_EQ(depth, 0) << what;
  }

 private:
  std::map<int64_t, int64_t> change_;
};

// Bytes of a packed linear, from packing.h's words: panels of 48 outputs, the last rounded to 16,
// each a multiple of 64 bytes; int4 in groups of 128 with f16 scales, or bf16.
int64_t LinearBytes(int64_t outputs, int64_t inputs, bool int4) {
  if (outputs == 0 || inputs == 0) return 0;
  const int64_t of_output = int4 ? inputs / 2 + 2 * ((inputs + kGroup - 1) / kGroup) : 2 * inputs;
  int64_t bytes = 0;
  for (int64_t done = 0; done < outputs; done += 48) {
    bytes += AlignUp(AlignUp(std::min<int64_t>(48, outputs - done), 16) * of_output);
  }
  return bytes;
}

int64_t ExpectedBytes(const Model& m, const ShardPlan& s, bool int4) {
  const int64_t qkv = (s.heads() + 2 * s.kv_heads()) * m.head_dim;
  int64_t layer = 2 * AlignUp(4 * m.hidden) + LinearBytes(qkv, m.hidden, int4) +
                  LinearBytes(m.hidden, s.heads() * m.head_dim, int4) +
                  LinearBytes(2 * s.ffn(), m.hidden, int4) + LinearBytes(m.hidden, s.ffn(), int4);
  if (m.qkv_bias) layer += 2 * AlignUp(4 * qkv);  // and the guard of its keys
  return m.layers * layer + AlignUp(2 * s.vocab() * m.hidden) + AlignUp(4 * m.hidden) +
         LinearBytes(s.vocab(), m.hidden, /*int4=*/false);
}

// One rank's pieces of every tensor.
struct Covers {
  std::map<std::string, Cover> rows;  // by module: of linears that are whole in their inputs
  std::map<std::string, Cover> cols;  // the others
  std::map<std::string, Cover> vectors;
  Cover embedding;

  void Add(const WeightAssembly& assembly) {
    for (const LinearPiece& piece : assembly.linears) {
      const kernels::LinearShape& shape = assembly.weights.shapes.*piece.shape;
      if (shape.inputs == piece.inputs && shape.outputs > 0 && !IsRowParallel(piece)) {
        rows[piece.module].Add(piece.row_begin, piece.row_end);
      } else if (IsRowParallel(piece)) {
        cols[piece.module].Add(shape.input_begin, shape.input_begin + shape.inputs);
      }
    }
    for (const VectorPiece& piece : assembly.vectors) {
      vectors[piece.tensor].Add(piece.begin, piece.end);
    }
    ASSERT_EQ(assembly.tables.size(), 1u);
    embedding.Add(assembly.tables[0].row_begin, assembly.tables[0].row_end);
  }

  static bool IsRowParallel(const LinearPiece& piece) {
    return piece.shape == &DecoderShapes::o || piece.shape == &DecoderShapes::down;
  }
};

bool Contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

void ExpectAllCovered(const Model& m, const Covers& covers, int64_t ranks) {
  // A kv head that several ranks need lies on each of them.
  const int64_t kv_copies = ranks > m.kv_heads ? ranks : 1;
  size_t linears = 0;
  for (const Named& tensor : TensorsOf(m)) {
    const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    const std::string what = tensor.name + " on " + std::to_string(ranks) + " ranks";
    const bool has_kv = Contains(module, "k_proj") || Contains(module, "v_proj");
    const int64_t most = has_kv ? kv_copies : 1;
    if (Contains(module, "embed_tokens") || Contains(module, "wte")) {
      covers.embedding.Expect(tensor.rows, 1, 1, what);
    } else if (tensor.cols == 0 && Contains(tensor.name, ".bias")) {
      covers.vectors.at(tensor.name).Expect(tensor.rows, 1, most, what);
    } else if (tensor.cols == 0) {
      covers.vectors.at(tensor.name).Expect(tensor.rows, ranks, ranks, what);
    } else if (covers.rows.count(module) != 0) {
      covers.rows.at(module).Expect(tensor.rows, 1, most, what);
      ++linears;
    } else {
      ASSERT_EQ(covers.cols.count(module), 1u) << what;
      covers.cols.at(module).Expect(tensor.cols, 1, 1, what);
      ++linears;
    }
  }
  EXPECT_EQ(linears, covers.rows.size() + covers.cols.size());
}

void ExpectFairShares(const Model& m, const ShardPlan& s) {
  const auto ceil = [&](int64_t whole) { return (whole + s.ranks - 1) / s.ranks; };
  // A grain: a leaf of the attention output (here four heads), or all heads of a kv head; a leaf of
  // the FFN; a tile of the vocabulary.
  const int64_t heads = std::max<int64_t>(m.heads / s.attention_tree.leaf_count(),
                                          s.ranks <= m.kv_heads ? m.heads / m.kv_heads : 1);
  EXPECT_LE(s.heads(), ceil(m.heads) + heads);
  int64_t leaf = 0;
  const std::vector<int64_t>& bounds = s.ffn_tree.bounds();
  for (size_t i = 1; i < bounds.size(); ++i) leaf = std::max(leaf, bounds[i] - bounds[i - 1]);
  EXPECT_LE(s.ffn(), ceil(m.ffn) + leaf);
  EXPECT_LE(s.vocab(), ceil(m.vocab) + kVocabTile);
}

void Walk(const Model& m, bool gptq) {
  const test::TempFolder folder;
  ASSERT_NO_FATAL_FAILURE(WriteSparse(m, gptq, folder));
  const Result<Checkpoint> checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const Result<ModelSpec> spec = SpecFromConfig(checkpoint->config_json());
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  const Result<WeightOptions> options = ResolveWeightOptions(*checkpoint, *spec, {});
  ASSERT_TRUE(options.ok()) << options.status().message();
  for (int64_t ranks = 1; ranks <= kRanks; ++ranks) {
    Covers covers;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const Result<ShardPlan> shard = ShardPlan::Make(*spec, ranks, rank);
      ASSERT_TRUE(shard.ok()) << shard.status().message();
      const int64_t planned = WeightPlan::Make(*spec, *shard, *options).bytes();
      EXPECT_EQ(planned, ExpectedBytes(m, *shard, gptq)) << rank << " of " << ranks;
      const WeightAssembly assembly =
          WeightAssembly::Make(*spec, *shard, *options, Untouched(planned));
      EXPECT_EQ(assembly.weights.arena.taken_bytes(), planned);
      ExpectFairShares(m, *shard);
      covers.Add(assembly);
    }
    ExpectAllCovered(m, covers, ranks);
  }
}

class Geometry : public testing::TestWithParam<std::tuple<size_t, bool>> {};

TEST_P(Geometry, PiecesCoverEveryTensorAndBytesAreAsPlanned) {
  const auto [model, gptq] = GetParam();
  Walk(Models()[model], gptq);
}

INSTANTIATE_TEST_SUITE_P(Models, Geometry,
                         testing::Combine(testing::Values(size_t{0}, size_t{1}, size_t{2}),
                                          testing::Bool()),
                         [](const auto& info) {
                           std::string name = Models()[std::get<0>(info.param)].name;
                           std::erase_if(name, [](char c) { return !isalnum(c); });
                           return name + (std::get<1>(info.param) ? "Gptq" : "Bf16");
                         });

}  // namespace
}  // namespace octet::worker
