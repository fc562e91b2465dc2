// Checkpoints that the formats' own packages packed: the weights of every module, read back through
// the kernel that multiplies them, are to the bit what those packages dequantize in float32
// (tests/golden/make_quantized.py leaves their CRC-32).
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "tests/worker/weights/decode_linear.h"
#include "worker/model/families/families.h"
#include "worker/weights/loader.h"

namespace octet::worker {
namespace {

// The one of zlib and of Python's zlib.crc32.
uint32_t Crc32(const void* data, size_t bytes) {
  uint32_t crc = ~0u;
  const auto* at = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < bytes; ++i) {
    crc ^= at[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
  }
  return ~crc;
}

class StoredGolden : public testing::TestWithParam<const char*> {};

TEST_P(StoredGolden, HoldsWhatThePackagesDequantize) {
  const std::string folder = std::string(OCTET_SOURCE_DIR) + "/tests/golden/" + GetParam();
  const auto checkpoint = Checkpoint::Open(folder);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const ModelSpec spec = SpecFromConfig(checkpoint->config_json()).value();
  const auto modules = StoredModules::Open(*checkpoint, spec);
  ASSERT_TRUE(modules.ok()) << modules.status().message();
  const WeightOptions options = ResolveWeightOptions(*checkpoint, spec, {}).value();
  ThreadPool pool(2);
  const auto loaded =
      LoadDecoderWeights(*checkpoint, spec, *ShardPlan::Make(spec, 1, 0), options, pool, nullptr);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  std::ifstream file(folder + "/weights.json");
  const nlohmann::json sums = nlohmann::json::parse(file);

  // Modules lie one after the other in the linear of their kind.
  const LayerWeights& layer = loaded->layers.at(0);
  const std::array<std::pair<const kernels::LinearShape*, const std::byte*>, kLinearKinds> linears =
      {{{&loaded->shapes.qkv, layer.qkv},
        {&loaded->shapes.o, layer.o},
        {&loaded->shapes.gate_up, layer.gate_up},
        {&loaded->shapes.down, layer.down},
        {&loaded->shapes.head, loaded->head}}};
  std::array<int64_t, kLinearKinds> rows_before = {};
  size_t compared = 0;
  for (const LinearModule& module : modules->modules()) {
    if (!modules->IsPacked(module.name)) continue;
    const auto kind = static_cast<size_t>(module.kind);
    const std::vector<float> kept = DecodeLinear(*linears[kind].first, linears[kind].second);
    const bool is_o = module.kind == LinearKind::kO;
    const int64_t places = linears[kind].first->inputs;
    std::vector<int32_t> inputs(places);  // of each place; -1: none
    std::iota(inputs.begin(), inputs.end(), 0);
    if (is_o && layer.o_order != nullptr) inputs.assign(layer.o_order, layer.o_order + places);
    const std::vector<int32_t>* order = is_o ? nullptr : modules->InputOrder(module.name);
    if (order != nullptr) inputs = *order;
    const std::vector<int32_t>* outputs = modules->OutputOrder(module.name);
    std::vector<float> weights(module.outputs * module.inputs);
    for (int64_t n = 0; n < module.outputs; ++n) {
      const float* from = kept.data() + (rows_before[kind] + n) * places;
      const int64_t output = outputs == nullptr ? n : (*outputs)[n];
      for (int64_t k = 0; k < places; ++k) {
        if (inputs[k] >= 0) weights[output * module.inputs + inputs[k]] = from[k];
      }
    }
    rows_before[kind] += module.outputs;
    ASSERT_TRUE(sums.contains(module.name));
    EXPECT_EQ(Crc32(weights.data(), weights.size() * sizeof(float)),
              sums[module.name].get<uint32_t>())
        << module.name;
    ++compared;
  }
  EXPECT_EQ(compared, sums.size());
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, StoredGolden,
                         testing::Values("gptq", "gptq_act", "gptq8_v2", "awq", "packed",
                                         "packed_act"));

}  // namespace
}  // namespace octet::worker
