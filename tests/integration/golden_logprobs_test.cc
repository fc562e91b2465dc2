// Log-probabilities of prompts against the log-softmax of Hugging Face transformers' logits, taken
// in double: exact activations, bf16 KV cache, weights as stored.
//
// Tolerance: that of golden_test.cc against the reference with the same cache, 0.01 standard
// deviations of the reference's logits; measured at most 0.0004 on these files. (A log-probability
// may differ by its logit's error and that of the logarithm of the sum, which is no larger than the
// largest error of a logit.)
#include <cmath>

#include "tests/integration/golden_cases.h"

namespace octet {
namespace {

constexpr double kTolerance = 0.01;

struct Reference {
  std::vector<double> logprobs;
  double deviation = 0;  // of the logits
};

Reference LogSoftmax(std::span<const float> logits) {
  double max = logits[0], sum = 0, total = 0, squares = 0;
  for (const float logit : logits) max = std::max(max, double{logit});
  for (const float logit : logits) sum += std::exp(logit - max);
  Reference reference;
  for (const float logit : logits) {
    reference.logprobs.push_back(logit - max - std::log(sum));
    total += logit;
    squares += double{logit} * logit;
  }
  const auto count = static_cast<double>(logits.size());
  reference.deviation = std::sqrt(squares / count - total / count * (total / count));
  return reference;
}

// The whole prompt in one chunk; every token but the first is told, and the token after the last.
std::vector<worker::StepPlan> Prompt(const std::vector<int64_t>& prompt) {
  worker::StepPlan plan;
  worker::Admit admit{.slot = 0, .sampling = {.temperature = 0}};
  admit.logprobs = admit.prompt_logprobs = kernels::kLogprobsMax;
  admit.prompt_tokens = static_cast<int64_t>(prompt.size());
  plan.admits.push_back(admit);
  plan.blocks.push_back(testing::Blocks(0, 0, (static_cast<int64_t>(prompt.size()) + 63) / 64));
  plan.prefills.push_back({.slot = 0,
                           .first_position = 0,
                           .tokens = {prompt.begin(), prompt.end()},
                           .sample = true,
                           .logprob_row_end = static_cast<int64_t>(prompt.size()) - 1});
  return {plan};
}

class GoldenLogprobsTest : public GoldenTest {};

// The largest difference of what is told after `position`, in deviations.
double ErrorOf(const worker::RowLogprobs& told, int32_t token, const Reference& reference) {
  double error = std::abs(told.logprob - reference.logprobs[token]);
  for (int32_t i = 0; i < told.top_count; ++i) {
    error =
        std::max(error, std::abs(told.top_logprobs[i] - reference.logprobs[told.top_tokens[i]]));
    // The i-th best logit is within the same error of the reference's i-th best.
    std::vector<double> sorted = reference.logprobs;
    std::nth_element(sorted.begin(), sorted.begin() + i, sorted.end(), std::greater<>());
    error = std::max(error, std::abs(told.top_logprobs[i] - sorted[i]));
  }
  return error / reference.deviation;
}

TEST_P(GoldenLogprobsTest, LogSoftmaxOfTransformers) {
  const auto golden =
      SafetensorsFile::Open(kSource + "/" + GetParam().logits, "logits.safetensors");
  ASSERT_TRUE(golden.ok()) << golden.status().message();
  double error = 0;
  int rows = 0;
  for (int i = 0;; ++i) {
    const auto prompt = ReadTensor<int64_t>(*golden, "prompt_" + std::to_string(i));
    if (prompt.empty()) break;
    const auto positions = ReadTensor<int64_t>(*golden, "positions_" + std::to_string(i));
    const auto logits = ReadTensor<float>(*golden, "logits_bf16_kv_" + std::to_string(i));
    const size_t vocab = logits.size() / positions.size();
    const worker::StepResult result = Run(Prompt(prompt), 3, Exact())[0].result;
    ASSERT_EQ(result.prompt_rows.size(), prompt.size() - 1);
    for (size_t p = 0; p < positions.size(); ++p) {
      const auto position = static_cast<size_t>(positions[p]);
      const bool last = position + 1 == prompt.size();
      const worker::RowLogprobs& told =
          last ? result.logprobs.at(0) : result.prompt_rows.at(position);
      const auto token = last ? result.tokens.at(0) : static_cast<int32_t>(prompt[position + 1]);
      EXPECT_EQ(told.top_count, kernels::kLogprobsMax);
      error = std::max(error, ErrorOf(told, token, LogSoftmax({logits.data() + p * vocab, vocab})));
      ++rows;
    }
  }
  ASSERT_GE(rows, 20);
  std::printf("%s: %d rows, error %.6f\n", GetParam().name, rows, error);
  EXPECT_LT(error, kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenLogprobsTest, ::testing::ValuesIn(kGoldens),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace octet
