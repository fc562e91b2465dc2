#include "worker/model/families/families.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace octet::worker {
namespace {

using nlohmann::json;

json Llama() {
  return json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
    "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                     "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    "hidden_act": "silu", "tie_word_embeddings": false, "attention_bias": false,
    "mlp_bias": false, "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009]})");
}

json Qwen2() {
  return json::parse(R"({
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
    "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
    "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936,
    "max_position_embeddings": 32768, "max_window_layers": 21, "sliding_window": 32768,
    "use_sliding_window": false, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
    "hidden_act": "silu", "tie_word_embeddings": true, "eos_token_id": 151645})");
}

Result<ModelSpec> Spec(const json& config) { return SpecFromConfig(config.dump()); }

std::string Message(const json& config) { return Spec(config).status().message(); }

TEST(SpecFromConfig, ReadsLlama3) {
  const auto spec = Spec(Llama());
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->architecture, "LlamaForCausalLM");
  EXPECT_EQ(spec->layers, 32);
  EXPECT_EQ(spec->hidden, 4096);
  EXPECT_EQ(spec->ffn, 14336);
  EXPECT_EQ(spec->heads, 32);
  EXPECT_EQ(spec->kv_heads, 8);
  EXPECT_EQ(spec->head_dim, 128);
  EXPECT_EQ(spec->vocab, 128256);
  EXPECT_EQ(spec->context, 131072);
  EXPECT_EQ(spec->norm_eps, 1e-5);
  EXPECT_EQ(spec->rope.type, RopeType::kLlama3);
  EXPECT_EQ(spec->rope.theta, 500000.0);
  EXPECT_EQ(spec->rope.factor, 8.0);
  EXPECT_EQ(spec->rope.original_context, 8192);
  EXPECT_FALSE(spec->qkv_bias);
  EXPECT_FALSE(spec->tied_embeddings);
  EXPECT_EQ(spec->sliding_window, 0);
  EXPECT_EQ(spec->bos_id, 128000);
  EXPECT_EQ(spec->eos_ids, (std::vector<int32_t>{128001, 128008, 128009}));
}

TEST(SpecFromConfig, ReadsQwen2WithBiasOnQkvOnly) {
  const auto spec = Spec(Qwen2());
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->head_dim, 64);
  EXPECT_TRUE(spec->qkv_bias);
  EXPECT_FALSE(spec->output_bias);
  EXPECT_TRUE(spec->tied_embeddings);
  EXPECT_EQ(spec->sliding_window, 0);
  EXPECT_EQ(spec->bos_id, -1);
  EXPECT_EQ(spec->eos_ids, std::vector<int32_t>{151645});
}

TEST(SpecFromConfig, MergesEndTokensOfTheGenerationConfig) {
  const auto spec = SpecFromConfig(Qwen2().dump(), R"({"eos_token_id": [151643, 151645]})");
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->eos_ids, (std::vector<int32_t>{151645, 151643}));
  EXPECT_EQ(SpecFromConfig(Qwen2().dump(), R"({"eos_token_id": 151936})").status().message(),
            "generation_config.json: key \"eos_token_id\" is 151936, expected one or more token "
            "ids in [0, 151936)");
  EXPECT_FALSE(SpecFromConfig(Qwen2().dump(), "[]").ok());
}

TEST(SpecFromConfig, ReadsRopeParametersOfTransformers5) {
  json config = Llama();
  json parameters = config["rope_scaling"];
  parameters["rope_theta"] = 250000.0;
  config.erase("rope_scaling");
  config.erase("rope_theta");
  config["rope_parameters"] = parameters;
  auto spec = Spec(config);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->rope.theta, 250000.0);
  EXPECT_EQ(spec->rope.type, RopeType::kLlama3);
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  spec = Spec(config);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->rope.type, RopeType::kDefault);
  EXPECT_EQ(spec->rope.theta, 1e6);
}

TEST(SpecFromConfig, ReadsTheOlderTypeKey) {
  json config = Llama();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  const auto spec = Spec(config);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->rope.type, RopeType::kLinear);
  EXPECT_EQ(spec->rope.factor, 2.0);
}

TEST(SpecFromConfig, MistralSlidesUnlessNull) {
  json config = Llama();
  config["architectures"] = {"MistralForCausalLM"};
  config.erase("rope_scaling");
  config["sliding_window"] = 4096;
  EXPECT_EQ(Spec(config)->sliding_window, 4096);
  config["sliding_window"] = nullptr;
  EXPECT_EQ(Spec(config)->sliding_window, 0);
  config.erase("sliding_window");
  EXPECT_EQ(Spec(config)->sliding_window, 4096);
}

TEST(SpecFromConfig, Qwen2SlidesOnAllLayersOrOnNone) {
  json config = Qwen2();
  config["use_sliding_window"] = true;
  config["max_window_layers"] = 0;
  EXPECT_EQ(Spec(config)->sliding_window, 32768);
  config["max_window_layers"] = 24;
  EXPECT_EQ(Spec(config)->sliding_window, 0);
  config["max_window_layers"] = 21;
  EXPECT_EQ(Spec(config).status().code(), StatusCode::kUnimplemented);
  config["layer_types"] = std::vector<std::string>(24, "full_attention");
  EXPECT_EQ(Spec(config)->sliding_window, 0);
  config["layer_types"] = std::vector<std::string>(24, "sliding_attention");
  EXPECT_EQ(Spec(config)->sliding_window, 32768);
  config["layer_types"] = std::vector<std::string>(23, "sliding_attention");
  EXPECT_EQ(Spec(config).status().code(), StatusCode::kInvalidArgument);
}

TEST(SpecFromConfig, TakesDefaults) {
  json config = Llama();
  for (const char* key :
       {"num_key_value_heads", "rope_theta", "rope_scaling", "rms_norm_eps",
        "max_position_embeddings", "eos_token_id", "bos_token_id", "architectures", "hidden_act"}) {
    config[key] = nullptr;
  }
  const auto spec = Spec(config);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->architecture, "LlamaForCausalLM");  // by model_type
  EXPECT_EQ(spec->kv_heads, 32);
  EXPECT_EQ(spec->rope.theta, 10000.0);
  EXPECT_EQ(spec->norm_eps, 1e-6);
  EXPECT_EQ(spec->context, 2048);
  EXPECT_TRUE(spec->eos_ids.empty());
  config["head_dim"] = 64;  // heads * head_dim need not be hidden
  EXPECT_EQ(Spec(config)->head_dim, 64);
}

// Every key of the wrong type, zero, negative or beyond its limit is refused by its name.
TEST(SpecFromConfig, NamesTheKeyOfABadValue) {
  const std::vector<std::string> integers = {
      "hidden_size",         "intermediate_size", "num_hidden_layers",      "num_attention_heads",
      "num_key_value_heads", "vocab_size",        "max_position_embeddings"};
  const std::vector<json> bad = {0,   -7,  int64_t{1} << 40, uint64_t{1} << 63, 1.5, "8", true,
                                 1e9, {1}, json::object()};
  for (const std::string& key : integers) {
    for (const json& value : bad) {
      json config = Llama();
      config[key] = value;
      const auto spec = Spec(config);
      EXPECT_EQ(spec.status().code(), StatusCode::kInvalidArgument) << key << value;
      EXPECT_NE(spec.status().message().find("\"" + key + "\""), std::string::npos)
          << spec.status().message();
    }
  }
  for (const char* key : {"rope_theta", "rms_norm_eps"}) {
    for (const json& value : {json(0), json(-1.0), json("x"), json(1e300)}) {
      json config = Llama();
      config[key] = value;
      EXPECT_NE(Message(config).find(key), std::string::npos) << key << value;
    }
  }
}

TEST(SpecFromConfig, SaysWhatWasFoundAndExpected) {
  json config = Llama();
  config["num_hidden_layers"] = 1000000000;
  EXPECT_EQ(Message(config),
            "config.json: key \"num_hidden_layers\" is 1000000000, expected an integer in [1, "
            "512]");
  config = Llama();
  config.erase("vocab_size");
  EXPECT_EQ(Message(config),
            "config.json: key \"vocab_size\" is missing, expected an integer in [1, 1048576]");
  config = Llama();
  config["hidden_size"] = 4100;
  EXPECT_EQ(Message(config),
            "config.json: key \"hidden_size\" is 4100, expected a multiple of "
            "num_attention_heads, which is 32, as head_dim is not given");
  config = Llama();
  config["num_key_value_heads"] = 5;
  EXPECT_EQ(Message(config),
            "config.json: key \"num_key_value_heads\" is 5, expected a divisor of "
            "num_attention_heads, which is 32");
}

TEST(SpecFromConfig, RefusesWhatItCanNotCompute) {
  const std::vector<std::pair<const char*, json>> variants = {
      {"architectures", {"Gemma2ForCausalLM"}},
      {"hidden_act", "gelu"},
      {"partial_rotary_factor", 0.5},
      {"rope_scaling", {{"rope_type", "longrope"}, {"factor", 4.0}}},
      {"rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}},
  };
  for (const auto& [key, value] : variants) {
    json config = Llama();
    config[key] = value;
    EXPECT_EQ(Spec(config).status().code(), StatusCode::kUnimplemented) << key << value;
  }
  json config = Llama();
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  config["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
  EXPECT_EQ(
      Message(config),
      "config.json has both rope_parameters and rope_scaling, supported is one of them: leave "
      "out the one that does not count");
  config = Llama();
  config["architectures"] = {"Gemma2ForCausalLM"};
  EXPECT_EQ(Message(config),
            "config.json: architecture \"Gemma2ForCausalLM\" is not supported; supported are "
            "InternLMForCausalLM, InternLM2ForCausalLM, LlamaForCausalLM, MistralForCausalLM, "
            "OPTForCausalLM, QWenLMHeadModel, Qwen2ForCausalLM, Qwen3ForCausalLM, YiForCausalLM");
  config = Llama();
  config["rope_scaling"] = {{"rope_type", "longrope"}};
  EXPECT_EQ(Message(config),
            "config.json: rope_scaling: key \"rope_type\" is \"longrope\", supported is only "
            "\"default\", \"linear\", \"dynamic\", \"llama3\" or \"yarn\"");
}

TEST(SpecFromConfig, RefusesModelsOfOtherKindsByName) {
  const std::vector<std::pair<const char*, const char*>> named = {
      {"MixtralForCausalLM", "a mixture of experts"},
      {"Qwen3MoeForCausalLM", "a mixture of experts"},
      {"DeepseekV3ForCausalLM", "a mixture of experts"},
      {"LlavaForConditionalGeneration", "a model of images or sound"},
      {"Qwen2VLForConditionalGeneration", "a model of images or sound"},
      {"InternVLChatModel", "a model of images or sound"},
      {"MambaForCausalLM", "a state-space model"},
  };
  for (const auto& [architecture, kind] : named) {
    json config = Llama();
    config["architectures"] = {architecture};
    EXPECT_EQ(Message(config), std::string("config.json: architecture \"") + architecture +
                                   "\" is " + kind + ", which is not supported");
  }
  for (const auto& [key, value] : std::vector<std::pair<const char*, json>>{
           {"num_experts", 60}, {"vision_config", json::object()}, {"visual", {{"width", 1664}}}}) {
    json config = Llama();
    config[key] = value;
    EXPECT_EQ(Spec(config).status().code(), StatusCode::kUnimplemented);
    EXPECT_NE(Message(config).find(std::string("key \"") + key + "\""), std::string::npos);
  }
  json config = Llama();
  config["num_experts"] = 0;
  EXPECT_TRUE(Spec(config).ok());
}

TEST(SpecFromConfig, RefusesBadRope) {
  const std::vector<json> bad = {
      {{"rope_type", "linear"}},
      {{"rope_type", "linear"}, {"factor", 0.0}},
      {{"factor", 2.0}},
      {{"rope_type", 3}},
      {{"rope_type", "llama3"}, {"factor", 8.0}, {"high_freq_factor", 0.5}},
      {{"rope_type", "llama3"}, {"factor", 8.0}, {"original_max_position_embeddings", 0}},
      json("linear"),
  };
  for (const json& scaling : bad) {
    json config = Llama();
    config["rope_scaling"] = scaling;
    EXPECT_EQ(Spec(config).status().code(), StatusCode::kInvalidArgument) << scaling;
  }
}

TEST(NamesOf, AreTheLlamaNames) {
  const TensorNames names = NamesOf(*Spec(Llama()));
  EXPECT_EQ(names.q.module, "model.layers.{}.self_attn.q_proj");
  EXPECT_EQ(names.head, "lm_head");
}

}  // namespace
}  // namespace octet::worker
