// What a folder says of its quantization: read, or refused by name.
#include "worker/weights/formats/quantization_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace octet::worker {
namespace {

using nlohmann::json;

Result<std::optional<QuantizationConfig>> Read(const json& quantization) {
  return ReadQuantizationConfig({.config = json({{"quantization_config", quantization}}).dump()});
}

std::string Described(const json& quantization) {
  const auto config = Read(quantization);
  return config.ok() ? (*config)->Describe() : config.status().message();
}

json Packed(const json& weights) {
  json all = {{"num_bits", 4},
              {"type", "int"},
              {"strategy", "group"},
              {"group_size", 128},
              {"symmetric", true}};
  all.update(weights);
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"config_groups", {{"group_0", {{"targets", {"Linear"}}, {"weights", all}}}}}};
}

TEST(QuantizationConfig, SaysWhatACheckpointIs) {
  EXPECT_FALSE(ReadQuantizationConfig({.config = "{}"})->has_value());
  EXPECT_EQ(Described({{"quant_method", "gptq"},
                       {"bits", 4},
                       {"group_size", 128},
                       {"sym", true},
                       {"desc_act", true}}),
            "int4 GPTQ, group 128, act-order");
  EXPECT_EQ(Described({{"quant_method", "gptq"}, {"bits", 8}, {"group_size", -1}, {"sym", false}}),
            "int8 GPTQ, one group per output, zero points");
  EXPECT_EQ(Described({{"quant_method", "awq"}, {"bits", 4}, {"version", "GEMM"}}),
            "int4 AWQ, group 128, zero points");
  EXPECT_EQ(Described(Packed(json::object())), "int4 compressed-tensors, group 128");
  EXPECT_EQ(Described(Packed({{"strategy", "channel"}, {"group_size", nullptr}})),
            "int4 compressed-tensors, one group per output");
  EXPECT_EQ(Described(Packed({{"actorder", "group"}, {"symmetric", false}})),
            "int4 compressed-tensors, group 128, zero points, act-order");
  EXPECT_EQ(Described(Packed({{"actorder", "weight"}})), "int4 compressed-tensors, group 128");
}

TEST(QuantizationConfig, OldFilesBesideConfigJson) {
  const QuantizationTexts gptq = {
      .quantize_config = R"({"bits": 4, "group_size": 64, "desc_act": false, "sym": true})",
      .config = "{}"};
  EXPECT_EQ((*ReadQuantizationConfig(gptq))->Describe(), "int4 GPTQ, group 64");
  EXPECT_TRUE((*ReadQuantizationConfig(gptq))->zero_less_one);
  const QuantizationTexts awq = {
      .quant_config = R"({"w_bit": 4, "q_group_size": 64, "zero_point": true, "version": "GEMM"})",
      .config = "{}"};
  EXPECT_EQ((*ReadQuantizationConfig(awq))->Describe(), "int4 AWQ, group 64, zero points");
  EXPECT_EQ(ReadQuantizationConfig({.quantize_config = "[]", .config = "{}"}).status().message(),
            "quantize_config.json: is an array of 0 values, not an object");
}

TEST(QuantizationConfig, RefusesByName) {
  const auto gptq = [](const json& with) {
    json all = {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 128}};
    all.update(with);
    return all;
  };
  const auto awq = [](const json& with) {
    json all = {{"quant_method", "awq"}, {"bits", 4}, {"group_size", 128}};
    all.update(with);
    return all;
  };
  const std::vector<std::pair<json, std::string>> cases = {
      {gptq({{"bits", 3}}), "key \"bits\" is 3, supported is 4 or 8"},
      {gptq({{"bits", 2}}), "key \"bits\" is 2, supported is 4 or 8"},
      {gptq({{"checkpoint_format", "marlin"}}), "\"checkpoint_format\" is \"marlin\""},
      {gptq({{"checkpoint_format", "gptq_p"}}), "supported is \"gptq\" or \"gptq_v2\""},
      {gptq({{"is_marlin_format", true}}), "key \"is_marlin_format\" is true"},
      {gptq({{"pack_dtype", "int64"}}), "key \"pack_dtype\" is \"int64\", supported is \"int32\""},
      {gptq({{"dynamic", {{"+:.*down.*", {{"bits", 8}}}}}}),
       "key \"dynamic\" quantizes the modules \"+:.*down.*\" in another way"},
      {awq({{"version", "gemv"}}), "key \"version\" is \"gemv\", supported is \"gemm\""},
      {awq({{"version", "exllama"}}), "key \"version\" is \"exllama\""},
      {awq({{"backend", "llm-awq"}}), "key \"backend\" is \"llm-awq\""},
      {awq({{"bits", 8}}), "key \"bits\" is 8, supported is 4"},
      {awq({{"zero_point", false}}), "key \"zero_point\" is false, supported is true"},
      {{{"quant_method", "bitsandbytes"}},
       "key \"quant_method\" is \"bitsandbytes\", supported is"},
      {{{"quant_method", "fp8"}}, "\"compressed-tensors\", \"smooth_quant\" or \"qoq\""},
      {Packed({{"num_bits", 6}}), "key \"num_bits\" is 6, supported is 4 or 8"},
      {Packed({{"type", "float"}}), "key \"type\" is \"float\""},
      {Packed({{"strategy", "tensor"}}), "key \"strategy\" is \"tensor\""},
      {Packed({{"actorder", "maybe"}}), "key \"actorder\" is \"maybe\""},
  };
  for (const auto& [config, said] : cases) {
    const Status status = Read(config).status();
    EXPECT_EQ(status.code(), StatusCode::kUnimplemented) << config;
    EXPECT_NE(status.message().find(said), std::string::npos) << status.message();
  }
  json activations = Packed(json::object());
  activations["config_groups"]["group_0"]["input_activations"] = {{"num_bits", 8}};
  EXPECT_NE(Described(activations).find("key \"input_activations\" is an object"),
            std::string::npos);
  json two = Packed(json::object());
  two["config_groups"]["group_1"] = two["config_groups"]["group_0"];
  EXPECT_NE(Described(two).find("has 2 entries"), std::string::npos);
  for (const int64_t group : {0, -7, 12, 1 << 20}) {
    EXPECT_EQ(Read(gptq({{"group_size", group}})).status().code(), StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(Read(gptq({{"dynamic", {{"-:.*lm_head.*", json::object()}}}})).ok());
}

}  // namespace
}  // namespace octet::worker
