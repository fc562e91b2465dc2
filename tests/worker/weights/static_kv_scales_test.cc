#include "worker/weights/static_kv_scales.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <optional>

#include "tests/support/one_sentence.h"
#include "tests/worker/weights/made_checkpoint.h"
#include "worker/weights/loader.h"

namespace octet::worker {
namespace {

using nlohmann::json;

constexpr int64_t kLayers = 2;
constexpr int64_t kKvHeads = 2;

json IntScheme() {
  return {{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "tensor"}};
}

// A small model without scales; what a test adds is written by Open.
class Made {
 public:
  // `scheme` null: none.
  void SetScheme(const json& scheme) {
    config_["quantization_config"] = {{"quant_method", "compressed-tensors"},
                                      {"kv_cache_scheme", scheme}};
  }
  void AddTensor(const std::string& name, DType dtype, const std::vector<int64_t>& shape,
                 const std::vector<float>& values) {
    made_.tensors.push_back(
        {name, std::string(DTypeName(dtype)), shape, test::StoredBytes(dtype, values)});
  }
  void AddFile(int64_t layer, int64_t rank, const std::vector<float>& numbers) {
    const std::string name =
        "layers." + std::to_string(layer) + ".past_kv_scale." + std::to_string(rank) + ".weight";
    made_.folder.Write(name, test::StoredBytes(DType::kF32, numbers));
  }
  // Scales of all layers as one f32 each: 0.25 and 0.5 more for every layer.
  void AddScalars() {
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      const std::string attention = "model.layers." + std::to_string(layer) + ".self_attn.";
      const auto more = static_cast<float>(layer);
      AddTensor(attention + "k_scale", DType::kF32, {}, {0.25f + more});
      AddTensor(attention + "v_scale", DType::kF32, {1}, {0.5f + more});
    }
  }

  Checkpoint Open() {
    made_.WriteFile();
    made_.folder.Write("config.json", config_.dump());
    return Checkpoint::Open(made_.folder.path()).value();
  }
  Result<DecoderWeights> Load(int64_t ranks, int64_t rank, bool static_kv = true) {
    const Checkpoint checkpoint = Open();
    ThreadPool pool(1);
    WeightOptions options = *ResolveWeightOptions(checkpoint, made_.spec, WeightRequest());
    options.static_kv = static_kv;
    return LoadDecoderWeights(checkpoint, made_.spec, *ShardPlan::Make(made_.spec, ranks, rank),
                              options, pool, nullptr);
  }
  const ModelSpec& spec() const { return made_.spec; }
  const MadeCheckpoint& made() const { return made_; }

 private:
  json config_ = SmallConfig(true);
  MadeCheckpoint made_{config_, DType::kBF16};
};

// [layer][head][key or value][scale, zero]
using Expected = std::function<float(int64_t layer, int64_t head, int which, int number)>;

void ExpectOnEveryRank(Made& made, const Expected& expected) {
  for (const int64_t ranks : {1, 2, 3, 8}) {
    for (int64_t rank = 0; rank < ranks; ++rank) {
      SCOPED_TRACE("rank " + std::to_string(rank) + " of " + std::to_string(ranks));
      const auto loaded = made.Load(ranks, rank);
      ASSERT_TRUE(loaded.ok()) << loaded.status().message();
      const ShardPlan shard = *ShardPlan::Make(made.spec(), ranks, rank);
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        const uint16_t* pairs = loaded->layers[layer].kv_scales;
        ASSERT_NE(pairs, nullptr);
        for (int64_t i = 0; i < 4 * shard.kv_heads(); ++i) {
          const int64_t head = shard.kv_head_begin + i / 4;
          EXPECT_EQ(pairs[i], FloatToF16(expected(layer, head, static_cast<int>(i / 2 % 2),
                                                  static_cast<int>(i % 2))))
              << layer << " " << i;
        }
      }
    }
  }
}

TEST(StaticKvScalesTest, OneNumberATensor) {
  Made made;
  made.SetScheme(IntScheme());
  made.AddScalars();
  ExpectOnEveryRank(made, [](int64_t layer, int64_t, int which, int number) {
    return number == 1 ? 0.0f : static_cast<float>(layer) + (which == 0 ? 0.25f : 0.5f);
  });
}

// One of every kv head, keys and values in different types; one kv_scale for both.
TEST(StaticKvScalesTest, OneNumberAHead) {
  Made made;
  made.SetScheme({{"num_bits", 8}, {"type", "int"}, {"dynamic", false}});
  made.AddTensor("model.layers.0.self_attn.k_proj.output_scale", DType::kF16, {kKvHeads, 1, 1},
                 {0.125f, 0.5f});
  made.AddTensor("model.layers.0.self_attn.v_scale", DType::kBF16, {kKvHeads}, {1.0f, 2.0f});
  made.AddTensor("model.layers.1.self_attn.kv_scale", DType::kF32, {}, {0.1f});
  ExpectOnEveryRank(made, [](int64_t layer, int64_t head, int which, int number) {
    if (number == 1) return 0.0f;
    if (layer == 1) return 0.1f;
    if (which == 0) return head == 0 ? 0.125f : 0.5f;
    return head == 0 ? 1.0f : 2.0f;
  });
}

TEST(StaticKvScalesTest, FilesOfLmdeploy) {
  Made made;
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const auto more = static_cast<float>(layer);
    made.AddFile(layer, 0, {0.03f + more, -1.5f, 0.02f, 0.25f});
    made.AddFile(layer, 1, {0.04f + more, 2.5f, 0.01f, -0.125f});
  }
  ExpectOnEveryRank(made, [](int64_t layer, int64_t head, int which, int number) {
    const auto more = static_cast<float>(layer);
    if (which == 1) return number == 0 ? (head == 0 ? 0.02f : 0.01f) : head == 0 ? 0.25f : -0.125f;
    return number == 0 ? (head == 0 ? 0.03f : 0.04f) + more : head == 0 ? -1.5f : 2.5f;
  });
}

TEST(StaticKvScalesTest, SymmetricFilesOfOneRank) {
  Made made;
  for (int64_t layer = 0; layer < kLayers; ++layer) made.AddFile(layer, 0, {0.03f, 0.02f});
  ExpectOnEveryRank(made, [](int64_t, int64_t, int which, int number) {
    return number == 1 ? 0.0f : which == 0 ? 0.03f : 0.02f;
  });
}

// Dynamic scales are what is meant unless someone asks; the tensors are no fault, and are told of.
TEST(StaticKvScalesTest, NobodyAsksForThem) {
  Made made;
  EXPECT_EQ(UnusedKvScales(made.Open()), "");
  EXPECT_EQ(DescribeKvScales(made.Open(), made.spec()), "none");
  made.AddScalars();
  const auto loaded = made.Load(1, 0, /*static_kv=*/false);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded->layers[0].kv_scales, nullptr);
  EXPECT_NE(UnusedKvScales(made.Open()).find("--kv int8-static"), std::string::npos);
  EXPECT_EQ(DescribeKvScales(made.Open(), made.spec()).find("static, which can not be taken: c"),
            0u);
  made.SetScheme(IntScheme());
  EXPECT_EQ(DescribeKvScales(made.Open(), made.spec()), "static int8, taken with --kv int8-static");
}

struct Fault {
  const char* name;
  std::function<void(Made&)> make;
  const char* message;  // a part of it
};

TEST(StaticKvScalesTest, FaultsAreOneSentence) {
  const std::string k0 = "model.layers.0.self_attn.k_scale";
  const auto with_scheme = [](const json& change) {
    return [change](Made& made) {
      json scheme = IntScheme();
      scheme.update(change);
      made.SetScheme(scheme);
      made.AddScalars();
    };
  };
  const auto with_k0 = [&](DType dtype, const std::vector<int64_t>& shape,
                           const std::vector<float>& values) {
    return [=](Made& made) {
      made.SetScheme(IntScheme());
      made.AddTensor(k0, dtype, shape, values);
    };
  };
  const auto with_files = [](const std::vector<std::vector<float>>& of_ranks) {
    return [of_ranks](Made& made) {
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        for (size_t rank = 0; rank < of_ranks.size(); ++rank) {
          made.AddFile(layer, static_cast<int64_t>(rank), of_ranks[rank]);
        }
      }
    };
  };
  const std::vector<float> good = {1, 0, 1, 0};
  const std::vector<Fault> faults = {
      {"none", [](Made&) {}, "which has neither \"model.layers.0.self_attn.k_scale\" nor a file"},
      {"no scheme", [](Made& made) { made.AddScalars(); },
       "no quantization_config with a kv_cache"},
      {"fp8", with_scheme({{"type", "float"}}),
       "key \"type\" is \"float\": these KV scales are for"},
      {"4 bits", with_scheme({{"num_bits", 4}}), "key \"num_bits\" is 4, expected 8"},
      {"asymmetric", with_scheme({{"symmetric", false}}), "key \"symmetric\" is false, expected"},
      {"dynamic", with_scheme({{"dynamic", true}}), "key \"dynamic\" is true, expected false"},
      {"type", with_scheme({{"type", "nf"}}), "key \"type\" is \"nf\", expected \"int\""},
      {"three", with_k0(DType::kF32, {3}, {1, 1, 1}),
       "tensor \"model.layers.0.self_attn.k_scale\": shape [3], expected one number or one for "
       "each"},
      {"zero", with_k0(DType::kF32, {1}, {0}), "a scale is 0.000000, expected a number from 2^-24"},
      {"negative", with_k0(DType::kF32, {1}, {-1}), "a scale is -1.000000, expected"},
      {"huge", with_k0(DType::kF32, {1}, {1e6f}), "a scale is 1000000.000000, expected"},
      {"NaN", with_k0(DType::kF32, {1}, {NAN}), "k_scale\": infinity or NaN"},
      {"alone", with_k0(DType::kF32, {1}, {1}),
       "tensor \"model.layers.0.self_attn.v_scale\" is missing"},
      {"twice",
       [&](Made& made) {
         made.AddScalars();
         made.AddFile(0, 0, good);
       },
       "has static KV scales twice, in tensor"},
      {"3 ranks", with_files({good, good, good}), "are of 3 ranks, which 2 kv heads can not"},
      {"12 bytes", with_files({{1, 0, 1}}), "has 12 bytes, expected 16"},
      {"bad zero", with_files({{1, INFINITY, 1, 0}}), "weight: a zero point is inf, expected"},
      {"one layer", [&](Made& made) { made.AddFile(0, 0, good); },
       "layers.1.past_kv_scale.0.weight: not found"},
  };
  for (const Fault& fault : faults) {
    Made made;
    fault.make(made);
    const auto loaded = made.Load(1, 0);
    ExpectOneSentence(loaded.status(), fault.message, fault.name);
  }
}

}  // namespace
}  // namespace octet::worker
