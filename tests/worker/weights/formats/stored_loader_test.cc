// Packed checkpoints, loaded at every degree: each rank's weights are, bit for bit, those that the
// file stands for, read back through the kernel that multiplies them.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/worker/weights/decode_linear.h"
#include "tests/worker/weights/formats/stored_checkpoint.h"
#include "worker/weights/loader.h"

namespace octet::worker {
namespace {

// Rows of one unsharded module.
struct Part {
  std::string module;
  int64_t begin = 0;
  int64_t end = 0;
};

// In which order a linear is kept; empty: as the module has it.
struct KeptOrder {
  std::vector<int32_t> inputs;
  std::vector<int32_t> outputs;
};

int64_t Place(const std::vector<int32_t>& order, int64_t position) {
  return order.empty() ? position : order[position];
}

// Sorted by group, stable, by insertion: not the loader's way.
std::vector<int32_t> SortedInputs(const StoredLinear& linear) {
  std::vector<int32_t> order;
  for (int32_t group = 0; group < linear.groups; ++group) {
    for (int32_t input = 0; input < linear.inputs; ++input) {
      if (linear.group_of[input] == group) order.push_back(input);
    }
  }
  return order;
}

void ExpectLinear(const StoredCheckpoint& made, const kernels::LinearShape& shape,
                  const std::byte* packed, const std::vector<Part>& parts,
                  const KeptOrder& order = {}) {
  if (shape.inputs == 0 || shape.outputs == 0) return;
  const std::vector<float> found = DecodeLinear(shape, packed);
  const float* value = found.data();
  for (const Part& part : parts) {
    for (int64_t n = part.begin; n < part.end; ++n) {
      for (int64_t k = 0; k < shape.inputs; ++k) {
        const int64_t output = Place(order.outputs, n);
        ASSERT_EQ(*value++,
                  made.Weight(part.module, output, Place(order.inputs, shape.input_begin + k)))
            << part.module << " output " << n << " input " << shape.input_begin + k;
      }
    }
  }
  EXPECT_EQ(value, found.data() + found.size());
}

// The attention output in runs: each input of the rank has one place, inside of its leaf, and its
// weights there; places of one group of eight are of one stored group.
void ExpectRuns(const StoredCheckpoint& made, const kernels::LinearShape& shape,
                const LayerWeights& layer, const std::string& module, const ShardPlan& shard) {
  if (shape.inputs == 0) return;
  const StoredLinear& linear = made.linears.at(module);
  const auto& bounds = shard.attention_tree.bounds();
  const int64_t first = bounds[shard.attention_leaves.begin];
  const std::vector<float> found = DecodeLinear(shape, layer.o);
  std::vector<int> seen(bounds[shard.attention_leaves.end] - first, 0);
  int64_t leaf = 0;
  for (int64_t place = 0; place < shape.inputs; ++place) {
    while (place >= shape.leaf_bounds[leaf + 1]) ++leaf;
    const int32_t own = layer.o_order[place];
    if (own < 0) continue;
    const int64_t input = first + own;
    ++seen[own];
    EXPECT_GE(input, bounds[shard.attention_leaves.begin + leaf]);
    EXPECT_LT(input, bounds[shard.attention_leaves.begin + leaf + 1]);
    for (int64_t n = 0; n < shape.outputs; ++n)
      ASSERT_EQ(found[n * shape.inputs + place], linear.Weight(n, input)) << n << " " << input;
    const int32_t before = place % 8 == 0 ? -1 : layer.o_order[place - 1];
    if (before >= 0) {
      EXPECT_EQ(linear.group_of[first + before], linear.group_of[input]);
    }
  }
  for (const int count : seen) EXPECT_EQ(count, 1);
}

void ExpectRank(const StoredCheckpoint& made, int64_t ranks, int64_t rank) {
  SCOPED_TRACE(made.stored.Name() + ", rank " + std::to_string(rank) + " of " +
               std::to_string(ranks));
  const auto checkpoint = Checkpoint::Open(made.folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto options = ResolveWeightOptions(*checkpoint, made.spec, {});
  ASSERT_TRUE(options.ok()) << options.status().message();
  const ShardPlan shard = *ShardPlan::Make(made.spec, ranks, rank);
  ThreadPool pool(2);
  const auto loaded = LoadDecoderWeights(*checkpoint, made.spec, shard, *options, pool, nullptr);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded->arena.taken_bytes(), WeightPlan::Make(made.spec, shard, *options).bytes());
  const int64_t hd = made.spec.head_dim;
  for (int64_t i = 0; i < made.spec.layers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    const LayerWeights& layer = loaded->layers[i];
    const std::string attention = prefix + "self_attn.";
    const auto sorted = [&](const std::string& module) {
      const auto linear = made.linears.find(module);
      return made.stored.act_order && linear != made.linears.end() ? SortedInputs(linear->second)
                                                                   : std::vector<int32_t>();
    };
    const std::vector<int32_t> of_attention = sorted(attention + "q_proj");
    const std::vector<int32_t> of_mlp = sorted(prefix + "mlp.up_proj");
    const std::vector<int32_t> of_down = sorted(prefix + "mlp.down_proj");
    // One group needs no order.
    const bool ordered = made.stored.act_order && made.stored.group < made.spec.hidden;
    ASSERT_EQ(layer.qkv_order != nullptr, ordered);
    ASSERT_EQ(layer.gate_up_order != nullptr, ordered);
    for (int64_t k = 0; k < made.spec.hidden && ordered; ++k) {
      ASSERT_EQ(layer.qkv_order[k], Place(of_attention, k));
      ASSERT_EQ(layer.gate_up_order[k], Place(of_mlp, k));
    }
    ExpectLinear(made, loaded->shapes.qkv, layer.qkv,
                 {{attention + "q_proj", shard.head_begin * hd, shard.head_end * hd},
                  {attention + "k_proj", shard.kv_head_begin * hd, shard.kv_head_end * hd},
                  {attention + "v_proj", shard.kv_head_begin * hd, shard.kv_head_end * hd}},
                 {.inputs = of_attention});
    if (layer.o_order == nullptr) {
      ExpectLinear(made, loaded->shapes.o, layer.o, {{attention + "o_proj", 0, made.spec.hidden}});
    } else {
      ExpectRuns(made, loaded->shapes.o, layer, attention + "o_proj", shard);
    }
    ExpectLinear(made, loaded->shapes.gate_up, layer.gate_up,
                 {{prefix + "mlp.gate_proj", shard.ffn_begin, shard.ffn_end},
                  {prefix + "mlp.up_proj", shard.ffn_begin, shard.ffn_end}},
                 {.inputs = of_mlp, .outputs = of_down});
    ExpectLinear(made, loaded->shapes.down, layer.down,
                 {{prefix + "mlp.down_proj", 0, made.spec.hidden}}, {.inputs = of_down});
  }
  if (made.stored.head) {
    ExpectLinear(made, loaded->shapes.head, loaded->head,
                 {{"lm_head", shard.vocab_begin, shard.vocab_end}});
  }
}

std::vector<StoredCase> Cases() {
  std::vector<StoredCase> cases;
  uint32_t seed = 1;
  for (const char* method : {"gptq", "gptq_v2", "awq", "pack-quantized"}) {
    const bool awq = std::string(method) == "awq";
    for (const int64_t group : {32, 64, 128, -1}) {
      for (const bool symmetric : {true, false}) {
        if (awq && symmetric) continue;
        for (const int64_t bits : {4, 8}) {
          if (awq && bits == 8) continue;
          cases.push_back({.method = method,
                           .bits = bits,
                           .group = group,
                           .symmetric = symmetric,
                           .head = seed % 3 == 0 && !awq,
                           .scales = seed % 2 == 0 ? DType::kBF16 : DType::kF16,
                           .seed = seed});
          ++seed;
        }
      }
    }
  }
  return cases;
}

TEST(StoredLoader, EveryShardHoldsItsCutOfTheWholeExactly) {
  for (const StoredCase& c : Cases()) {
    const StoredCheckpoint made(StoredConfig(c.seed % 2 == 0), c);
    for (int64_t ranks = 1; ranks <= 8; ++ranks) {
      for (int64_t rank = 0; rank < ranks; ++rank) ExpectRank(made, ranks, rank);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(StoredLoader, ActOrderAtEveryDegree) {
  uint32_t seed = 100;
  for (const char* method : {"gptq", "gptq_v2", "pack-quantized"}) {
    for (const int64_t group : {32, 128}) {
      for (const bool symmetric : {true, false}) {
        const StoredCheckpoint made(StoredConfig(seed % 2 == 0), {.method = method,
                                                                  .bits = seed % 4 == 0 ? 8 : 4,
                                                                  .group = group,
                                                                  .symmetric = symmetric,
                                                                  .act_order = true,
                                                                  .seed = seed});
        for (int64_t ranks = 1; ranks <= 8; ++ranks) {
          for (int64_t rank = 0; rank < ranks; ++rank) ExpectRank(made, ranks, rank);
          if (HasFatalFailure()) return;
        }
        ++seed;
      }
    }
  }
}

// One flag says that inputs of q, k, v and of gate, up are sorted: floats among them lie as stored.
TEST(StoredLoader, ActOrderBesideFloats) {
  for (const char* as_floats : {"self_attn", "mlp", "o_proj", "down_proj"}) {
    for (const char* method : {"gptq", "pack-quantized"}) {
      const StoredCheckpoint made(
          StoredConfig(false),
          {.method = method, .act_order = true, .as_floats = as_floats, .seed = 7});
      for (int64_t ranks = 1; ranks <= 3; ++ranks) {
        for (int64_t rank = 0; rank < ranks; ++rank) ExpectRank(made, ranks, rank);
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace octet::worker
