// Models of shapes drawn at random (tests/support/dice.h).
#pragma once

#include <initializer_list>
#include <sstream>
#include <string>

#include "tests/support/dice.h"
#include "tests/worker/engine/odd_model.h"
#include "worker/engine/worker_options.h"

namespace octet::worker::test {

struct RandomModel {
  ModelSpec spec;
  Variant variant;
  int64_t group = 128;
  int64_t degrees = 1;  // the highest

  // Of a CPU.
  EngineConfig Config(int64_t ranks, int64_t rank) const {
    EngineConfig config = MakeTestConfig(spec, variant, ranks, rank);
    config.weights.group = group;
    return config;
  }
};

struct RandomLimits {
  std::initializer_list<int64_t> head_dims;
  std::initializer_list<kernels::ActivationFormat> activations;
  int64_t layers, kv_heads, hidden, ffn;  // at most
};

inline RandomModel Draw(const RandomLimits& limits, octet::test::Dice& dice) {
  using kernels::KvFormat;
  using kernels::WeightFormat;
  RandomModel model;
  ModelSpec& spec = model.spec;
  spec = OddSpec();
  spec.layers = dice.Between(1, limits.layers);
  spec.kv_heads = dice.Between(1, limits.kv_heads);
  spec.heads = spec.kv_heads * dice.Between(1, 7);
  spec.head_dim = dice.Of(limits.head_dims);
  spec.hidden = 8 * dice.Between(8, limits.hidden / 8);
  spec.ffn = dice.OneIn(2) ? 128 * dice.Between(4, limits.ffn / 128)
                           : 8 * dice.Between(40, limits.ffn / 8);
  spec.vocab = dice.Between(1300, 2600);
  spec.qkv_bias = dice.OneIn(2);
  spec.tied_embeddings = dice.OneIn(2);
  if (dice.OneIn(4)) {
    spec = testing::LikeQwen(spec);
  } else if (dice.OneIn(5)) {
    spec = testing::LikeOpt(spec);
  } else if (dice.OneIn(3)) {
    spec.sliding_window = dice.Between(1, 80);
  }
  const KvFormat kv = dice.Of({KvFormat::kInt8, KvFormat::kBF16, KvFormat::kInt4});
  model.variant = {.name = "random",
                   .layers = dice.Of({WeightFormat::kInt4, WeightFormat::kInt4, WeightFormat::kInt8,
                                      WeightFormat::kBF16, WeightFormat::kF16}),
                   .head = dice.Of({WeightFormat::kInt8, WeightFormat::kBF16, WeightFormat::kInt4}),
                   .kv = kv,
                   .activations = dice.Of(limits.activations),
                   .static_kv = kv == KvFormat::kInt8 && dice.OneIn(4)};
  model.group = dice.Of({32, 64, 128, 128});
  while (ShardPlan::Make(spec, model.degrees + 1, 0).ok()) ++model.degrees;
  return model;
}

inline std::string Describe(const RandomModel& model) {
  const ModelSpec& spec = model.spec;
  std::ostringstream out;
  out << "layers " << spec.layers << " hidden " << spec.hidden << " ffn " << spec.ffn << " heads "
      << spec.heads << "/" << spec.kv_heads << " of " << spec.head_dim << " vocabulary "
      << spec.vocab << " window " << spec.sliding_window << " weights "
      << WeightFormatName(model.variant.layers) << " group " << model.group << " head "
      << WeightFormatName(model.variant.head) << " KV " << static_cast<int>(model.variant.kv)
      << (model.variant.static_kv ? " static" : "") << " activations "
      << ActivationFormatName(model.variant.activations);
  return out.str();
}

}  // namespace octet::worker::test
