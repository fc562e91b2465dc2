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

enum class RopeType {
  kDefault,
  kLinear,
  kDynamic,      // transformers' "dynamic": the base grows with the length beyond original_context
  kQwenDynamic,  // Qwen's use_dynamic_ntk: it grows in powers of two
  kLlama3,
  kYarn,
};

struct RopeSpec {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;              // linear, dynamic, llama3, yarn
  double low_freq_factor = 1.0;     // llama3
  double high_freq_factor = 4.0;    // llama3
  int64_t original_context = 8192;  // dynamic types, llama3, yarn: the length that was trained
  double beta_fast = 32.0;          // yarn
  double beta_slow = 1.0;           // yarn
  bool truncate = true;             // yarn: the ramp begins and ends at whole pairs
  double magnitude = 1.0;           // on cos and sin (yarn)

  // Frequencies follow from the sequence's rope_length, the length of its prompt at first
  // admission: never from what it has become, so that keys in the cache stay right.
  bool depends_on_length() const {
    return type == RopeType::kDynamic || type == RopeType::kQwenDynamic;
  }
  // out [head_dim / 2] computed in double, stored as float. `rope_length` counts for the dynamic
  // types alone.
  void FillInverseFrequencies(int64_t head_dim, int64_t rope_length, float* out) const;
  std::vector<float> InverseFrequencies(int64_t head_dim, int64_t rope_length = 0) const;
};

enum class NormType { kRms, kLayer };
enum class MlpType {
  kGatedSilu,  // down(silu(gate(x)) * up(x))
  kRelu,       // down(relu(up(x))); there is no gate
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
  int64_t context = 0;         // max_position_embeddings: what a sequence may have unless told
  int64_t scaled_context = 0;  // what it may be told to have, where rope scaling makes it longer
  NormType norm = NormType::kRms;
  double norm_eps = 1e-6;
  RopeSpec rope;
  // Rows of a learned position table, in place of rope; 0: rope. Position p is row
  // p + position_offset.
  int64_t position_rows = 0;
  int64_t position_offset = 0;
  bool qk_norm = false;      // RMS norm of every query and key head before rope
  int64_t logn_context = 0;  // queries beyond it are scaled by log(position + 1); 0: none are
  MlpType mlp = MlpType::kGatedSilu;
  bool qkv_bias = false;
  bool output_bias = false;  // attention output projection
  bool gate_up_bias = false;
  bool down_bias = false;
  bool tied_embeddings = false;
  int64_t sliding_window = 0;    // 0: full attention
  std::vector<int32_t> eos_ids;  // config.json and generation_config.json together
  int32_t bos_id = -1;

  int64_t rotary_dim() const { return position_rows > 0 ? 0 : head_dim; }
  bool has_gate() const { return mlp == MlpType::kGatedSilu; }
  int64_t context_max() const { return scaled_context > context ? scaled_context : context; }
};

}  // namespace octet::worker
