// F4 and F5: a config.json that asks for what cannot be, or for what is not read yet.
#include <gtest/gtest.h>

#include "tests/integration/bad_files/bad_model.h"
#include "tests/support/fault_table.h"
#include "worker/model/families/families.h"
#include "worker/weights/loader.h"

namespace octet::testing {
namespace {

using nlohmann::json;
constexpr auto kBad = StatusCode::kInvalidArgument;
constexpr auto kLoss = StatusCode::kDataLoss;
constexpr auto kForeign = StatusCode::kUnimplemented;
constexpr int64_t kSmall = 256 << 10;

// config.json with one key set.
std::function<void(const BadModel&)> Set(const std::string& key, const json& value) {
  return [key, value](const BadModel& m) { m.EditConfig([&](json& c) { c[key] = value; }); };
}

TEST(BadFiles, F4ConfigsThatCannotBe) {
  const auto without_head_dim = [](int64_t hidden) {
    return [hidden](const BadModel& m) {
      m.EditConfig([&](json& c) {
        c.erase("head_dim");
        c["hidden_size"] = hidden;
      });
    };
  };
  ExpectRefused(
      {{"F4", "heads 0", Set("num_attention_heads", 0), kBad,
        "config.json: key \"num_attention_heads\" is 0, expected an integer in [1, 1024]"},
       {"F4", "heads \"8\"", Set("num_attention_heads", "8"), kBad,
        "config.json: key \"num_attention_heads\" is \"8\", expected an integer in [1, 1024]"},
       {"F4", "hidden not divisible by heads", without_head_dim(177), kBad,
        "config.json: key \"hidden_size\" is 177, expected a multiple of num_attention_heads"},
       {"F4", "kv heads that do not divide heads", Set("num_key_value_heads", 3), kBad,
        "config.json: key \"num_key_value_heads\" is 3, expected a divisor of"},
       {"F4", "vocabulary that is not the embedding's rows", Set("vocab_size", 1301), kLoss,
        "tensor \"model.embed_tokens.weight\": shape [1300, 176], expected [1301, 176] by config"},
       {"F4", "layers 1e9", Set("num_hidden_layers", 1'000'000'000), kBad,
        "config.json: key \"num_hidden_layers\" is 1000000000, expected an integer in [1, 512]"},
       {"F4", "layers -1", Set("num_hidden_layers", -1), kBad,
        "config.json: key \"num_hidden_layers\" is -1, expected"},
       {"F4", "layers 2^63", Set("num_hidden_layers", uint64_t{1} << 63), kBad,
        "config.json: key \"num_hidden_layers\" is 9223372036854775808, expected"},
       {"F4", "layers 512, of which the file has 2", Set("num_hidden_layers", 512),
        StatusCode::kNotFound, "tensor \"model.layers.2."},
       {"F4", "the largest of everything, in a file of 2 MB",
        [](const BadModel& m) {
          m.EditConfig([](json& c) {
            c.update({{"num_hidden_layers", 512},
                      {"hidden_size", 65536},
                      {"intermediate_size", 262144},
                      {"num_attention_heads", 1024},
                      {"num_key_value_heads", 1024},
                      {"head_dim", 256},
                      {"vocab_size", 1048576}});
          });
        },
        kLoss, "expected [1048576, 65536] by config.json"},
       {"F4", "rope_theta NaN",
        [](const BadModel& m) {
          m.EditConfigText("\"vocab_size\"", "\"rope_theta\":NaN,\"vocab_size\"");
        },
        kBad, "config.json: not valid JSON at byte"},
       {"F4", "rope_theta \"nan\"", Set("rope_theta", "nan"), kBad,
        "config.json: key \"rope_theta\" is \"nan\", expected a number in [1, 1e+15]"},
       {"F4", "rope_theta 1e999",
        [](const BadModel& m) {
          m.EditConfigText("\"vocab_size\"", "\"rope_theta\":1e999,\"vocab_size\"");
        },
        kBad, "in or after the value of key \"rope_theta\""},
       {"F4", "rope_theta -1", Set("rope_theta", -1), kBad, "key \"rope_theta\" is -1, expected"},
       {"F4", "unknown architecture", Set("architectures", {"BloomForCausalLM"}), kForeign,
        "architecture \"BloomForCausalLM\" is not supported; supported are InternLMForCausalLM"},
       {"F4", "mixture of experts", Set("architectures", {"MixtralForCausalLM"}), kForeign,
        "architecture \"MixtralForCausalLM\" is a mixture of experts, which is not supported"},
       {"F4", "unknown rope_type", Set("rope_scaling", {{"rope_type", "spiral"}, {"factor", 2}}),
        kForeign, "config.json: rope_scaling: key \"rope_type\" is \"spiral\", supported is only"},
       {"F4", "5000 brackets in one another",
        [](const BadModel& m) {
          m.EditConfigText("\"vocab_size\"", "\"a\":" + std::string(5000, '[') +
                                                 std::string(5000, ']') + ",\"vocab_size\"");
        },
        StatusCode::kResourceExhausted, "config.json: nested deeper than the limit of 64 levels"},
       {"F4", "vocab_size given twice",
        [](const BadModel& m) {
          m.EditConfigText("\"vocab_size\"", "\"vocab_size\":1,\"vocab_size\"");
        },
        kBad, "config.json: key \"vocab_size\" is given twice in one object"},
       {"F4", "17 MB of config.json",
        [](const BadModel& m) { m.EditConfigText("{", "{" + std::string(17 << 20, ' ')); },
        StatusCode::kResourceExhausted, "bytes, the limit is 16777216"}},
      kSmall);
}

TEST(BadFiles, F4QuantizationThatCannotBe) {
  const auto quantized = [](const json& value) { return Set("quantization_config", value); };
  ExpectRefused(
      {{"F4", "quantization_config with group_size 0",
        quantized({{"quant_method", "awq"}, {"bits", 4}, {"group_size", 0}}), kBad,
        "config.json: quantization_config: key \"group_size\" is 0, expected -1 or a multiple of "
        "8"},
       {"F4", "quantization_config with group_size -7",
        quantized({{"quant_method", "gptq"}, {"bits", 4}, {"group_size", -7}}), kBad,
        "config.json: quantization_config: key \"group_size\" is -7, expected -1 or a multiple"},
       {"F4", "quantization_config with 5 bits",
        quantized({{"quant_method", "gptq"}, {"bits", 5}, {"group_size", 128}}), kForeign,
        "config.json: quantization_config: key \"bits\" is 5, supported is 4 or 8"},
       {"F4", "quantization_config with 10^18 bits",
        quantized({{"quant_method", "gptq"}, {"bits", 1000000000000000000}}), kBad,
        "key \"bits\" is 1000000000000000000, expected an integer in [1, 16]"},
       {"F4", "quantization_config that is a list", quantized(json::array({1})), kBad,
        "key \"quantization_config\" is an array of 1 values, expected an object"},
       {"F4", "quantization_config over tensors that are none",
        quantized({{"quant_method", "gptq"}, {"bits", 4}}), kBad,
        "says int4 GPTQ, group 128, zero points, but no module has a tensor \"qweight\""}},
      kSmall);
  const BadModel good;
  const auto checkpoint = worker::Checkpoint::Open(good.folder().path());
  const auto spec = worker::SpecFromConfig(checkpoint->config_json());
  for (const int64_t group : {-7, 5, 1 << 30}) {
    const auto options =
        worker::ResolveWeightOptions(*checkpoint, *spec, {.layers = "int4", .group = group});
    EXPECT_EQ(options.status().code(), kBad);
    EXPECT_NE(options.status().message().find(std::to_string(group)), std::string::npos);
    FaultSeen("F4", "--group-size " + std::to_string(group), options.status().message());
  }
}

}  // namespace
}  // namespace octet::testing
