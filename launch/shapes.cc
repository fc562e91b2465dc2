#include "launch/shapes.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/json/json.h"
#include "worker/model/families/families.h"

namespace octet::launch {
namespace {

struct NamedShape {
  const char* name;
  const char* architecture;
  int64_t layers, hidden, ffn, heads, kv_heads, head_dim, vocab, context;
  bool qkv_bias, tied;
};

// Sources: the models' published config.json; llama-1b is Llama-3.2-1B with a vocabulary of 32000
// and an untied head; mha-1b is made up, a model of that size in which every head has keys and
// values of its own; qwen-72b is the first Qwen's (64 kv heads, two FFN halves of 24576), which
// differs from Qwen2 in names alone.
constexpr NamedShape kShapes[] = {
    {"llama-1b", "LlamaForCausalLM", 16, 2048, 8192, 32, 8, 64, 32000, 8192, false, false},
    {"mha-1b", "LlamaForCausalLM", 16, 2048, 5632, 16, 16, 128, 32000, 8192, false, false},
    {"llama-3-8b", "LlamaForCausalLM", 32, 4096, 14336, 32, 8, 128, 128256, 8192, false, false},
    {"llama-3-70b", "LlamaForCausalLM", 80, 8192, 28672, 64, 8, 128, 128256, 8192, false, false},
    {"qwen-72b", "Qwen2ForCausalLM", 80, 8192, 24576, 64, 64, 128, 152064, 32768, true, false},
    {"qwen2.5-0.5b", "Qwen2ForCausalLM", 24, 896, 4864, 14, 2, 64, 151936, 32768, true, true},
    {"qwen2.5-7b", "Qwen2ForCausalLM", 28, 3584, 18944, 28, 4, 128, 152064, 32768, true, false},
    {"qwen2.5-72b", "Qwen2ForCausalLM", 80, 8192, 29568, 64, 8, 128, 152064, 32768, true, false},
};

Result<std::string> ReadText(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return NotFound("there is no file " + path.string());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// What config.json says of the weights' type; bf16 where it says nothing that is known.
DType StoredDType(const std::string& config_json) {
  const Result<nlohmann::json> config = ParseJson(config_json, "config.json");
  if (!config.ok()) return DType::kBF16;
  for (const char* key : {"dtype", "torch_dtype"}) {
    const auto found = config->find(key);
    if (found == config->end() || !found->is_string()) continue;
    if (*found == "float32") return DType::kF32;
    if (*found == "float16") return DType::kF16;
  }
  return DType::kBF16;
}

bool HasWeights(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / "model.safetensors") ||
         std::filesystem::exists(folder / "model.safetensors.index.json");
}

// What is stored is then known from the headers of its files.
Result<ShapeSource> ShapeOfCheckpoint(const std::string& folder) {
  OCTET_ASSIGN_OR_RETURN(const worker::Checkpoint checkpoint, worker::Checkpoint::Open(folder));
  ShapeSource source;
  source.name = folder;
  OCTET_ASSIGN_OR_RETURN(source.spec, worker::SpecFromConfig(checkpoint.config_json(),
                                                             checkpoint.generation_config_json()));
  OCTET_ASSIGN_OR_RETURN(const worker::StoredModules modules,
                         worker::StoredModules::Open(checkpoint, source.spec));
  source.stored = worker::StoredTypesOf(checkpoint, modules, source.spec);
  return source;
}

}  // namespace

std::vector<std::string> ShapeNames() {
  std::vector<std::string> names;
  for (const NamedShape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

Result<ShapeSource> ResolveShape(const std::string& name_or_path) {
  for (const NamedShape& s : kShapes) {
    if (name_or_path != s.name) continue;
    ShapeSource source;
    source.name = s.name;
    source.spec = {.architecture = s.architecture,
                   .layers = s.layers,
                   .hidden = s.hidden,
                   .ffn = s.ffn,
                   .heads = s.heads,
                   .kv_heads = s.kv_heads,
                   .head_dim = s.head_dim,
                   .vocab = s.vocab,
                   .context = s.context,
                   .qkv_bias = s.qkv_bias,
                   .tied_embeddings = s.tied};
    return source;
  }
  std::filesystem::path path(name_or_path);
  if (HasWeights(path)) return ShapeOfCheckpoint(name_or_path);
  if (std::filesystem::is_directory(path)) path /= "config.json";
  if (!std::filesystem::exists(path)) {
    std::string known;
    for (const std::string& name : ShapeNames()) known += (known.empty() ? "" : ", ") + name;
    return NotFound("'" + name_or_path +
                    "' is neither a config.json, a checkpoint directory nor one of " + known);
  }
  OCTET_ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  ShapeSource source;
  source.name = name_or_path;
  OCTET_ASSIGN_OR_RETURN(source.spec, worker::SpecFromConfig(text));
  OCTET_ASSIGN_OR_RETURN(const auto quantization, worker::ReadQuantizationConfig({.config = text}));
  source.stored = worker::StoredTypesOf(quantization, StoredDType(text));
  return source;
}

}  // namespace octet::launch
