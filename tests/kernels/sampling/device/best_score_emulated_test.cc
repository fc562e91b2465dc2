// The Gumbel maximum on a device against the CPU's, over rows of several runs: bounds that pass
// over a token too many lose some of these tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "tests/kernels/sampling/all_params.h"
#include "tests/kernels/sampling/awkward_logits.h"
#include "tests/kernels/sampling/device/device_ranks.h"

namespace octet::kernels::test {
namespace {

constexpr int32_t kVocab = 4 * 2048 + 1024 + 77;  // four runs and a bit
constexpr float kInf = std::numeric_limits<float>::infinity();

class BestScoreTest : public testing::Test {
 protected:
  void SetUp() override { OCTET_REQUIRE_GPU(); }

  // Of rows at one temperature, each with a seed of its own.
  static void ExpectTheCpus(float temperature, const std::vector<std::vector<float>>& rows,
                            const std::vector<int32_t>& cut) {
    std::vector<Sequence> sequences;
    std::vector<SlotAdmission> admissions;
    std::vector<AskedRow> asked;
    for (const std::vector<float>& logits : rows) {
      const auto slot = static_cast<int32_t>(asked.size());
      sequences.push_back(
          {.sampling = Params(temperature, 0, 1, 0, 0x700000000ull + asked.size()), .tokens = {3}});
      asked.push_back({.slot = slot,
                       .position = sequences.back().position(),
                       .sampling = sequences.back().sampling,
                       .logits = logits});
    }
    for (size_t i = 0; i < sequences.size(); ++i) {
      admissions.push_back(sequences[i].Admission(static_cast<int32_t>(i), 1));
    }
    DeviceRanks ranks(cut, static_cast<int64_t>(rows.size()));
    ranks.Admit(admissions);
    for (const std::vector<Answer>& answers : ranks.Run(asked)) {
      for (size_t i = 0; i < rows.size(); ++i) {
        EXPECT_EQ(answers[i].token, ChosenByCpu(sequences[i], rows[i]).token)
            << "temperature " << temperature << " row " << i;
      }
    }
  }
};

std::vector<float> Filled(float logit) { return std::vector<float>(kVocab, logit); }

TEST_F(BestScoreTest, FlatAndSteepRowsGiveTheCpusTokens) {
  for (const float temperature : {0.2f, 1.0f, 4.0f}) {
    std::vector<std::vector<float>> rows;
    for (const float deviation : {0.0f, 0.3f, 3.0f, 60.0f}) {
      for (uint32_t seed = 0; seed < 4; ++seed) {
        rows.push_back(Normal(kVocab, seed, 3.0f, deviation));
      }
    }
    ExpectTheCpus(temperature, rows, {0, kVocab});
  }
}

TEST_F(BestScoreTest, AwkwardRowsGiveTheCpusTokens) {
  std::vector<std::vector<float>> rows = {AwkwardLogits(kVocab, 1), AwkwardLogits(kVocab, 2)};
  // Scores that round to the same: the lowest id of them, in whatever run.
  for (const float same : {0.0f, 20.0f, -7.0f, 3e38f, -3e38f, kInf, -kInf, std::nanf("")}) {
    rows.push_back(Filled(same));
  }
  for (const int32_t allowed : {0, 2047, 2048, kVocab - 1}) {  // one token can be chosen
    rows.push_back(Filled(-kInf));
    rows.back()[static_cast<size_t>(allowed)] = -2.0f;
  }
  rows.push_back(Filled(-1e30f));  // one stands out, whatever its noise
  rows.back()[5000] = 1e30f;
  // Quotients that overflow and such that only just do not.
  rows.push_back(Normal(kVocab, 9, 0, 1));
  for (float& logit : rows.back()) logit = 3.4e33f * (1.0f + 1e-6f * logit);
  for (const float temperature : {kGreedyBelow, 0.7f, 1e6f, 3e38f}) {
    ExpectTheCpus(temperature, rows, {0, 4096, kVocab});
  }
}

// Far from zero a score is rounded to eights and all of its noise may go with that.
TEST_F(BestScoreTest, ScoresThatRoundTogetherGiveTheCpusTokens) {
  std::vector<std::vector<float>> rows;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    rows.push_back(Normal(kVocab, seed, 0, 1));
    for (float& logit : rows.back()) logit = 1000.0f + 6e-5f * logit;
  }
  for (const float temperature : {1e-5f, 1.3e-5f, 5e-5f}) {
    ExpectTheCpus(temperature, rows, {0, kVocab});
  }
}

}  // namespace
}  // namespace octet::kernels::test
