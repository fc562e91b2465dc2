// The dialects of config.json beside Llama's, as the published files write them, and where their
// tensors are.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "worker/model/families/families.h"

namespace octet::worker {
namespace {

using nlohmann::json;

Result<ModelSpec> Spec(const json& config) { return SpecFromConfig(config.dump()); }

// The rows of a part, "module[begin, end) ...".
std::string Shown(const RowSlot& slot, int64_t begin, int64_t end) {
  std::string text;
  for (const ModuleRows& run : RowsOf(slot, 3, begin, end)) {
    text += run.module + "[" + std::to_string(run.begin) + "," + std::to_string(run.end) + ")";
  }
  return text;
}

json Qwen72B() {
  return {{"architectures", {"QWenLMHeadModel"}},
          {"model_type", "qwen"},
          {"hidden_size", 8192},
          {"intermediate_size", 49152},
          {"num_attention_heads", 64},
          {"num_hidden_layers", 80},
          {"kv_channels", 128},
          {"layer_norm_epsilon", 1e-6},
          {"max_position_embeddings", 32768},
          {"no_bias", true},
          {"rotary_emb_base", 1000000},
          {"rotary_pct", 1.0},
          {"scale_attn_weights", true},
          {"seq_length", 32768},
          {"tie_word_embeddings", false},
          {"use_dynamic_ntk", false},
          {"use_logn_attn", false},
          {"vocab_size", 152064}};
}

TEST(Dialects, Qwen) {
  json config = Qwen72B();
  const auto spec = Spec(config);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->ffn, 24576);
  EXPECT_EQ(spec->kv_heads, 64);
  EXPECT_EQ(spec->context_max(), 32768);
  EXPECT_EQ(spec->rope.type, RopeType::kDefault);
  EXPECT_EQ(spec->rope.theta, 1e6);
  EXPECT_EQ(spec->logn_context, 0);
  EXPECT_TRUE(spec->qkv_bias);
  EXPECT_FALSE(spec->output_bias || spec->gate_up_bias || spec->down_bias);
  EXPECT_EQ(spec->eos_ids, (std::vector<int32_t>{151643, 151645}));

  const TensorNames names = NamesOf(*spec);
  EXPECT_EQ(Shown(names.q, 128, 256), "transformer.h.3.attn.c_attn[128,256)");
  EXPECT_EQ(Shown(names.k, 128, 256), "transformer.h.3.attn.c_attn[8320,8448)");
  EXPECT_EQ(Shown(names.v, 128, 256), "transformer.h.3.attn.c_attn[16512,16640)");
  EXPECT_EQ(names.gate.module, "transformer.h.{}.mlp.w2");
  EXPECT_EQ(names.up.module, "transformer.h.{}.mlp.w1");

  config["seq_length"] = 2048;
  config["max_position_embeddings"] = 8192;
  config["use_dynamic_ntk"] = true;
  config["use_logn_attn"] = true;
  EXPECT_EQ(Spec(config)->rope.type, RopeType::kQwenDynamic);
  EXPECT_EQ(Spec(config)->rope.original_context, 2048);
  EXPECT_EQ(Spec(config)->logn_context, 2048);
  EXPECT_EQ(Spec(config)->context, 8192);
  config["intermediate_size"] = 49151;
  EXPECT_EQ(Spec(config).status().code(), StatusCode::kInvalidArgument);
}

TEST(Dialects, QwenByItsFirstNames) {
  json config = Qwen72B();
  for (const auto& [now, early] :
       std::vector<std::pair<const char*, const char*>>{{"hidden_size", "n_embd"},
                                                        {"num_hidden_layers", "n_layer"},
                                                        {"num_attention_heads", "n_head"},
                                                        {"vocab_size", "padded_vocab_size"},
                                                        {"intermediate_size", "ffn_hidden_size"}}) {
    config[early] = config[now];
    config.erase(now);
  }
  const auto spec = Spec(config);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->layers, 80);
  EXPECT_EQ(spec->ffn, 24576);
  config.erase("n_layer");
  EXPECT_NE(Spec(config).status().message().find("num_hidden_layers"), std::string::npos);
}

json InternLm2() {
  return {{"architectures", {"InternLM2ForCausalLM"}},
          {"bias", false},
          {"hidden_act", "silu"},
          {"hidden_size", 4096},
          {"intermediate_size", 14336},
          {"max_position_embeddings", 32768},
          {"model_type", "internlm2"},
          {"num_attention_heads", 32},
          {"num_hidden_layers", 32},
          {"num_key_value_heads", 8},
          {"rms_norm_eps", 1e-5},
          {"rope_scaling", {{"factor", 2.0}, {"type", "dynamic"}}},
          {"rope_theta", 1000000},
          {"tie_word_embeddings", false},
          {"vocab_size", 92544}};
}

TEST(Dialects, InternLm2) {
  const auto spec = Spec(InternLm2());
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->rope.type, RopeType::kDynamic);
  EXPECT_EQ(spec->rope.original_context, 32768);
  EXPECT_EQ(spec->context, 32768);
  EXPECT_EQ(spec->context_max(), 65536);
  EXPECT_FALSE(spec->qkv_bias);

  // A kv head's rows: four query heads, its key, its value; 768 in all.
  const TensorNames names = NamesOf(*spec);
  const std::string module = "model.layers.3.attention.wqkv";
  EXPECT_EQ(Shown(names.q, 256, 1152),
            module + "[256,512)" + module + "[768,1280)" + module + "[1536,1664)");
  EXPECT_EQ(Shown(names.k, 128, 384), module + "[1280,1408)" + module + "[2048,2176)");
  EXPECT_EQ(Shown(names.v, 0, 128), module + "[640,768)");
  EXPECT_EQ(Shown(names.v, 128, 128), "");
  EXPECT_EQ(names.gate.module, "model.layers.{}.feed_forward.w1");
  EXPECT_EQ(names.up.module, "model.layers.{}.feed_forward.w3");
}

TEST(Dialects, InternLm) {
  json config = InternLm2();
  config["architectures"] = {"InternLMForCausalLM"};
  config.erase("num_key_value_heads");
  config.erase("rope_scaling");
  config["bias"] = true;
  config["max_position_embeddings"] = 2048;
  config["rotary"] = {{"base", 10000}, {"type", "dynamic"}};
  const auto spec = Spec(config);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_TRUE(spec->qkv_bias && spec->output_bias);
  EXPECT_FALSE(spec->gate_up_bias || spec->down_bias);
  EXPECT_EQ(spec->kv_heads, 32);
  EXPECT_EQ(spec->rope.type, RopeType::kDynamic);
  EXPECT_EQ(spec->rope.factor, 1.0);
  EXPECT_EQ(spec->context_max(), 16384);
  config["rotary"]["type"] = "origin";
  EXPECT_EQ(Spec(config)->rope.type, RopeType::kDefault);
  config["rotary"]["type"] = "xpos";
  EXPECT_EQ(Spec(config).status().code(), StatusCode::kUnimplemented);
}

TEST(Dialects, Qwen3) {
  const json config = {{"architectures", {"Qwen3ForCausalLM"}},
                       {"attention_bias", false},
                       {"hidden_act", "silu"},
                       {"hidden_size", 1024},
                       {"intermediate_size", 3072},
                       {"max_position_embeddings", 40960},
                       {"max_window_layers", 28},
                       {"num_attention_heads", 16},
                       {"num_hidden_layers", 28},
                       {"num_key_value_heads", 8},
                       {"rope_theta", 1000000},
                       {"tie_word_embeddings", true},
                       {"use_sliding_window", false},
                       {"vocab_size", 151936}};
  const auto spec = Spec(config);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->head_dim, 128);  // whatever hidden is
  EXPECT_TRUE(spec->qk_norm);
  EXPECT_FALSE(spec->qkv_bias);
  EXPECT_EQ(NamesOf(*spec).k_norm, "model.layers.{}.self_attn.k_norm");
}

json Opt() {
  return {{"architectures", {"OPTForCausalLM"}},
          {"activation_function", "relu"},
          {"do_layer_norm_before", true},
          {"_remove_final_layer_norm", false},
          {"bos_token_id", 2},
          {"eos_token_id", 2},
          {"ffn_dim", 3072},
          {"hidden_size", 768},
          {"max_position_embeddings", 2048},
          {"model_type", "opt"},
          {"num_attention_heads", 12},
          {"num_hidden_layers", 12},
          {"vocab_size", 50272},
          {"word_embed_proj_dim", 768}};
}

TEST(Dialects, Opt) {
  const auto spec = Spec(Opt());
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->norm, NormType::kLayer);
  EXPECT_EQ(spec->mlp, MlpType::kRelu);
  EXPECT_EQ(spec->position_rows, 2050);
  EXPECT_EQ(spec->rotary_dim(), 0);
  EXPECT_TRUE(spec->tied_embeddings);
  EXPECT_TRUE(spec->qkv_bias && spec->output_bias && spec->gate_up_bias && spec->down_bias);
  EXPECT_EQ(NamesOf(*spec).mlp_norm, "model.decoder.layers.{}.final_layer_norm");

  // OPT-350m, and what else would compute something else.
  for (const auto& [key, value] :
       std::vector<std::pair<const char*, json>>{{"do_layer_norm_before", false},
                                                 {"word_embed_proj_dim", 512},
                                                 {"_remove_final_layer_norm", true},
                                                 {"layer_norm_elementwise_affine", false},
                                                 {"activation_function", "gelu"}}) {
    json config = Opt();
    config[key] = value;
    EXPECT_EQ(Spec(config).status().code(), StatusCode::kUnimplemented) << key;
    EXPECT_NE(Spec(config).status().message().find(key), std::string::npos);
  }
}

TEST(Dialects, Yi) {
  json config = InternLm2();
  config["architectures"] = {"YiForCausalLM"};
  config["rope_scaling"] = nullptr;
  const auto spec = Spec(config);
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(NamesOf(*spec).mlp_norm, "model.layers.{}.ln2");
  EXPECT_EQ(NamesOf(*spec).o.module, "model.layers.{}.self_attn.o_proj");
}

}  // namespace
}  // namespace octet::worker
