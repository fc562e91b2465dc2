// config.json from anyone: refused with a sentence, or a model whose shards and bytes can be
// planned for every number of ranks, without taking more memory than a plan needs.
// Input: config.json, and after a zero byte generation_config.json.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/check.h"
#include "worker/model/decoder_weights.h"
#include "worker/model/families/families.h"
#include "worker/model/shard_plan.h"
#include "worker/weights/loader.h"

using namespace octet;  // NOLINT: one file

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = input.find('\0');
  const std::string config(input.substr(0, cut));
  std::optional<std::string> generation;
  if (cut != std::string_view::npos) generation = std::string(input.substr(cut + 1));
  const auto spec = worker::SpecFromConfig(config, generation);
  if (!spec.ok()) {
    OCTET_CHECK(!spec.status().message().empty());
    return 0;
  }
  OCTET_CHECK_EQ(static_cast<int64_t>(spec->rope.InverseFrequencies(spec->head_dim).size()),
                 spec->head_dim / 2);
  const auto quantization = worker::ReadQuantizationConfig({.config = config});
  if (!quantization.ok()) {
    OCTET_CHECK(!quantization.status().message().empty());
    return 0;
  }
  const bool is_quantized = quantization->has_value();
  const auto options =
      worker::ResolveWeightOptions(worker::StoredTypesOf(*quantization, DType::kF16), *spec,
                                   {.layers = is_quantized ? "auto" : "int4"});
  if (!options.ok()) return 0;
  for (const int64_t ranks : {1, 2, 3, 8}) {
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const auto shard = worker::ShardPlan::Make(*spec, ranks, rank);
      if (!shard.ok()) break;
      OCTET_CHECK_GE(worker::WeightPlan::Make(*spec, *shard, *options).bytes(), 0);
    }
  }
  return 0;
}
