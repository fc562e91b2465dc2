// What quantized KV caches cost on text, on models with and without outlier channels of keys
// (outlier_model.h). Measured is the mean divergence D(bf16 cache | quantized cache) of the next
// token's distribution on held-out text, activations and weights exact.
//
// The bar: with outliers at most twice what it is without. Guards other than the one that loading
// makes (worker/weights/key_guard.h) are measured beside it; worker/weights/README.md has the
// table.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "coordinator/tokenizer/tokenizer.h"
#include "tests/integration/outlier_model.h"
#include "tests/support/engine_group.h"
#include "worker/engine/worker_options.h"
#include "worker/model/families/families.h"
#include "worker/weights/float_rows.h"

namespace octet {
namespace {

constexpr int64_t kWindows = 4;  // sequences side by side
constexpr int64_t kWindowTokens = 192;

// Changes a layer's guard [(8 + 2 + 2) * 32] from the one that loading made.
using ChangeGuard = std::function<void(float* guard, const float* k_bias)>;

struct Method {
  const char* name;
  ChangeGuard change;
};

void Clear(float* guard) {
  std::fill(guard, guard + (kHeads + kKvHeads) * kHeadDim, 1.0f);
  std::fill(guard + (kHeads + kKvHeads) * kHeadDim, guard + (kHeads + 2 * kKvHeads) * kHeadDim,
            0.0f);
}

// Powers of two alone, that bring the whole bias down to `level`: what rows of q and k could take.
void FactorsAlone(float level, float* guard, const float* k_bias) {
  Clear(guard);
  for (int64_t channel = 0; channel < kKvHeads * kHeadDim; ++channel) {
    const int64_t head = channel / kHeadDim;
    const int64_t i = channel % kHalf;
    const float* bias = k_bias + head * kHeadDim;
    const float length = std::hypot(bias[i], bias[i + kHalf]) / std::numbers::sqrt2_v<float>;
    const float factor = std::exp2(std::round(std::log2(std::max(1.0f, length / level))));
    guard[kHeads * kHeadDim + channel] = 1 / factor;
    for (int64_t q = 4 * head; q < 4 * head + 4; ++q)
      guard[q * kHeadDim + channel % kHeadDim] = factor;
  }
}

const std::vector<Method>& Methods() {
  static const std::vector<Method> methods = {
      {"none", [](float* guard, const float*) { Clear(guard); }},
      {"factors to 2", [](float* guard, const float* b) { FactorsAlone(2, guard, b); }},
      {"factors to 4", [](float* guard, const float* b) { FactorsAlone(4, guard, b); }},
      {"factors to 8", [](float* guard, const float* b) { FactorsAlone(8, guard, b); }},
      {"mean taken",
       [](float* guard, const float*) {
         std::fill(guard, guard + (kHeads + kKvHeads) * kHeadDim, 1.0f);
       }},
      {"both", nullptr}};
  return methods;
}

// Rows of log-probabilities [windows * tokens, vocab].
using Predictions = std::vector<std::vector<float>>;

void ToLogProbabilities(std::vector<float>* row) {
  const float max = *std::max_element(row->begin(), row->end());
  double sum = 0;
  for (const float value : *row) sum += std::exp(double{value} - max);
  const auto log_sum = static_cast<float>(max + std::log(sum));
  for (float& value : *row) value -= log_sum;
}

class KvFidelityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ifstream file(kDemo + "heldout/bible.txt", std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    const auto tokenizer = tokenizer::Tokenizer::Load(kDemo + "model");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    const auto ids = tokenizer->Encode(text, false);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    ASSERT_GE(static_cast<int64_t>(ids->size()), kWindows * kWindowTokens);
    ids_.assign(ids->begin(), ids->begin() + kWindows * kWindowTokens);
  }

  std::vector<worker::StepPlan> Plans() const {
    std::vector<worker::StepPlan> plans(kWindowTokens);
    for (int32_t slot = 0; slot < kWindows; ++slot) {
      constexpr int64_t kBlocks = (kWindowTokens + 63) / 64;
      plans[0].admits.push_back({.slot = slot, .sampling = testing::WithLogits()});
      plans[0].blocks.push_back(
          testing::Blocks(slot, slot * static_cast<int32_t>(kBlocks), kBlocks));
      for (int64_t i = 0; i < kWindowTokens; ++i) {
        plans[i].prefills.push_back({.slot = slot,
                                     .first_position = i,
                                     .tokens = {ids_[slot * kWindowTokens + i]},
                                     .sample = true});
      }
    }
    return plans;
  }

  Predictions Predict(const std::string& folder, const std::string& kv, const ChangeGuard& change) {
    worker::WorkerOptions options;
    options.activations = "f32";
    options.kv = kv;
    options.max_num_seqs = kWindows;
    options.threads = 2;
    Predictions rows;
    for (testing::StepOutput& output : Run(folder, options, 1, change, Plans())) {
      for (std::vector<float>& row : output.logits) {
        ToLogProbabilities(&row);
        rows.push_back(std::move(row));
      }
    }
    return rows;
  }

  static std::vector<testing::StepOutput> Run(const std::string& folder,
                                              const worker::WorkerOptions& options, int64_t degree,
                                              const ChangeGuard& change,
                                              const std::vector<worker::StepPlan>& plans) {
    const auto checkpoint = worker::Checkpoint::Open(folder);
    if (!checkpoint.ok()) CheckFailed(__FILE__, __LINE__, checkpoint.status().message());
    const worker::ModelSpec spec = *worker::SpecFromConfig(checkpoint->config_json());
    const worker::WeightOptions weights =
        *worker::ResolveWeightOptions(*checkpoint, spec, {.layers = options.weights});
    const auto make_config = [&](int64_t ranks, int64_t rank) {
      return worker::MakeEngineConfig(options, spec, weights, ranks, rank).value();
    };
    const auto make_weights = [&](const worker::EngineConfig& config, ThreadPool& pool) {
      worker::DecoderWeights loaded =
          worker::LoadDecoderWeights(*checkpoint, spec, config.shard, config.weights, pool, nullptr)
              .value();
      for (const worker::LayerWeights& layer : loaded.layers) {
        if (change == nullptr) continue;
        change(const_cast<float*>(layer.key_guard), layer.qkv_bias + kHeads * kHeadDim);
      }
      return loaded;
    };
    return testing::RunLoadedGroup(degree, make_config, make_weights, plans);
  }

  // Per token, of the text itself. Rows come position by position, window by window.
  double NegativeLogLikelihood(const Predictions& rows) const {
    double sum = 0;
    for (int64_t row = 0; row + kWindows < static_cast<int64_t>(rows.size()); ++row) {
      const int64_t at = row % kWindows * kWindowTokens + row / kWindows;
      sum -= rows[row][ids_[at + 1]];
    }
    return sum / static_cast<double>(rows.size() - kWindows);
  }

  std::vector<int32_t> ids_;  // [windows, tokens]
};

double MeanDivergence(const Predictions& from, const Predictions& to) {
  double sum = 0;
  for (size_t row = 0; row < from.size(); ++row) {
    for (size_t v = 0; v < from[row].size(); ++v) {
      sum += std::exp(double{from[row][v]}) * (double{from[row][v]} - to[row][v]);
    }
  }
  return sum / static_cast<double>(from.size());
}

TEST_F(KvFidelityTest, OutlierChannelsCostAtMostTwice) {
  double plain[2] = {};
  for (const Outliers& outliers : Models()) {
    const test::TempFolder folder;
    WriteModel(outliers, folder);
    const Predictions exact = Predict(folder.path(), "bf16", nullptr);
    std::printf("%-10s %.4f nats a token", outliers.name, NegativeLogLikelihood(exact));
    for (int kv = 0; kv < 2; ++kv) {
      const char* format = kv == 0 ? "int8" : "int4";
      const double divergence = MeanDivergence(exact, Predict(folder.path(), format, nullptr));
      if (outliers.pairs.empty()) plain[kv] = divergence;
      std::printf("  %s %.4e = %.2f", format, divergence, divergence / plain[kv]);
      if (kv == 0) {
        EXPECT_LE(divergence, 2 * plain[kv]) << outliers.name;
      }
    }
    std::printf("\n");
  }
}

// A guard belongs to a kv head, whichever ranks hold it.
TEST_F(KvFidelityTest, SameBitsAtEveryDegree) {
  const test::TempFolder folder;
  WriteModel(Models()[3], folder);
  worker::StepPlan prefill;
  prefill.admits.push_back({.slot = 0, .sampling = testing::WithLogits()});
  prefill.blocks.push_back(testing::Blocks(0, 0, 2));
  prefill.prefills.push_back({.slot = 0,
                              .first_position = 0,
                              .tokens = {ids_.begin(), ids_.begin() + 100},
                              .sample = true});
  const worker::StepPlan decode{.decode_slots = {0}};
  worker::WorkerOptions options;
  options.weights = "int4";
  options.kv = "int8";
  options.max_num_seqs = 1;
  options.threads = 1;
  std::vector<std::vector<testing::StepOutput>> of_degrees;
  for (const int64_t degree : {1, 2, 3, 8}) {
    of_degrees.push_back(Run(folder.path(), options, degree, nullptr, {prefill, decode, decode}));
    for (size_t step = 0; step < 3; ++step) {
      EXPECT_TRUE(of_degrees.back()[step].logits == of_degrees[0][step].logits)
          << "tp " << degree << " step " << step;
    }
  }
}

// Outliers in the norm of key heads, which the norm of query heads makes up for, by powers of two:
// a quantized cache holds the very codes that it holds without them.
TEST_F(KvFidelityTest, OutliersInTheNormOfKeysKeepEveryBit) {
  const std::string qwen3 = std::string(OCTET_SOURCE_DIR) + "/tests/golden/qwen3";
  const auto spec = worker::SpecFromConfig(worker::Checkpoint::Open(qwen3)->config_json());
  ASSERT_TRUE(spec.ok() && spec->qk_norm);
  std::vector<test::StoredTensor> tensors = TensorsOf(qwen3);
  int changed = 0;
  for (test::StoredTensor& tensor : tensors) {
    const bool is_k = tensor.name.find("layers.0.self_attn.k_norm") != std::string::npos;
    if (!is_k && tensor.name.find("layers.0.self_attn.q_norm") == std::string::npos) continue;
    const DType type = tensor.type == "F32"   ? DType::kF32
                       : tensor.type == "F16" ? DType::kF16
                                              : DType::kBF16;
    std::vector<float> values(static_cast<size_t>(spec->head_dim));
    worker::ToFloats(type, reinterpret_cast<const std::byte*>(tensor.bytes.data()), spec->head_dim,
                     values.data());
    for (const int64_t channel : {int64_t{5}, 5 + spec->head_dim / 2}) {
      values[channel] *= is_k ? 64.0f : 1 / 64.0f;
    }
    tensor.bytes = test::StoredBytes(type, values);
    ++changed;
  }
  ASSERT_EQ(changed, 2);
  const test::TempFolder folder;
  folder.Write("model.safetensors", test::Safetensors(tensors));
  folder.Write("config.json", worker::Checkpoint::Open(qwen3)->config_json());
  worker::StepPlan prefill;
  prefill.admits.push_back({.slot = 0, .sampling = testing::WithLogits()});
  prefill.blocks.push_back(testing::Blocks(0, 0, 1));
  prefill.prefills.push_back(
      {.slot = 0, .first_position = 0, .tokens = {5, 3, 77, 12, 40, 9}, .sample = true});
  worker::WorkerOptions options;
  options.max_num_seqs = 1;
  options.threads = 1;
  for (const char* kv : {"int8", "int4", "bf16"}) {
    options.kv = kv;
    const auto plain = Run(qwen3, options, 1, nullptr, {prefill, {.decode_slots = {0}}});
    const auto outliers = Run(folder.path(), options, 1, nullptr, {prefill, {.decode_slots = {0}}});
    for (size_t step = 0; step < plain.size(); ++step) {
      EXPECT_TRUE(outliers[step].logits == plain[step].logits) << kv << " step " << step;
    }
  }
}

// Static scales cost more than those of every token: one step for all that calibration saw.
// Measured 4.3 times as much; 14 where scales are twice too large, 171 where those of keys and
// values are swapped.
TEST_F(KvFidelityTest, StaticScalesOfTheCheckpoint) {
  const test::TempFolder folder;
  WriteModelWithStaticScales(folder);
  const Predictions exact = Predict(folder.path(), "bf16", nullptr);
  const double dynamic = MeanDivergence(exact, Predict(folder.path(), "int8", nullptr));
  const double fixed = MeanDivergence(exact, Predict(folder.path(), "int8-static", nullptr));
  std::printf("int8 %.4e, int8-static %.4e = %.2f\n", dynamic, fixed, fixed / dynamic);
  EXPECT_GT(fixed, dynamic);
  EXPECT_LT(fixed, 8 * dynamic);
}

// The table of worker/weights/README.md: --gtest_also_run_disabled_tests. Disabled on 2026-11-26 as
// it judges nothing and takes a minute.
TEST_F(KvFidelityTest, DISABLED_EveryMethod) {
  double plain[2] = {};
  for (const Outliers& outliers : Models()) {
    const test::TempFolder folder;
    WriteModel(outliers, folder);
    for (const Method& method : Methods()) {
      if (outliers.pairs.empty() && method.change != nullptr) continue;
      const Predictions exact = Predict(folder.path(), "bf16", method.change);
      std::printf("%-10s %-13s", outliers.name, method.name);
      for (int kv = 0; kv < 2; ++kv) {
        const double divergence =
            MeanDivergence(exact, Predict(folder.path(), kv == 0 ? "int8" : "int4", method.change));
        if (outliers.pairs.empty()) plain[kv] = divergence;
        std::printf(" %8.2f", divergence / plain[kv]);
      }
      std::printf("\n");
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace octet
