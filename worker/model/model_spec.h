// The model is data: what a decoder is, read from config.json, and where its tensors are found.
// A family (families/) turns one config.json dialect into a spec; Decoder runs every spec.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace octet::worker {

// Limits on what a config may ask for. A value outside is refused by name before any allocation.
inline constexpr int64_t kLayersMax = 512;
inline constexpr int64_t kHiddenMax = 65536;
inline constexpr int64_t kFfnMax = 262144;
inline constexpr int64_t kHeadsMax = 1024;
inline constexpr int64_t kHeadDimMax = 256;
inline constexpr int64_t kVocabMax = 1 << 20;
inline constexpr int64_t kContextMax = 1 << 22;

enum class RopeType { kDefault, kLinear, kLlama3 };

struct RopeSpec {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;              // linear, llama3
  double low_freq_factor = 1.0;     // llama3
  double high_freq_factor = 4.0;    // llama3
  int64_t original_context = 8192;  // llama3
  // [head_dim / 2] computed in double, stored as float.
  std::vector<float> InverseFrequencies(int64_t head_dim) const;
};

struct ModelSpec {
  std::string architecture;  // "LlamaForCausalLM", "Qwen2ForCausalLM"
  int64_t layers = 0;
  int64_t hidden = 0;
  int64_t ffn = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab = 0;
  int64_t context = 0;  // max_position_embeddings
  double norm_eps = 1e-6;
  RopeSpec rope;
  bool qkv_bias = false;
  bool output_bias = false;  // attention output projection
  bool tied_embeddings = false;
  int64_t sliding_window = 0;    // 0: full attention
  std::vector<int32_t> eos_ids;  // config.json and generation_config.json together
  int32_t bos_id = -1;
};

}  // namespace octet::worker
