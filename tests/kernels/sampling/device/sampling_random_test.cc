// Sampling on a device with parameters, logits and cuts of the vocabulary that are drawn at random:
// the CPU's tokens and log-probabilities, exactly.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <sstream>

#include "tests/kernels/sampling/all_params.h"
#include "tests/kernels/sampling/awkward_logits.h"
#include "tests/kernels/sampling/device/device_ranks.h"
#include "tests/support/dice.h"

namespace octet::kernels::test {
namespace {

using octet::test::Dice;

constexpr int kCases = 8;
constexpr float kInf = std::numeric_limits<float>::infinity();

// Whole tiles for each of up to five ranks, none for some.
std::vector<int32_t> RandomCut(int32_t vocab, Dice& dice) {
  const int64_t tiles = (vocab + kSamplingTile - 1) / kSamplingTile;
  std::vector<int32_t> cut = {0};
  for (int64_t inner = dice.Between(0, 4); inner > 0; --inner) {
    const int64_t end = std::min<int64_t>(vocab, kSamplingTile * dice.Between(0, tiles));
    cut.push_back(static_cast<int32_t>(end));
  }
  cut.push_back(vocab);
  std::sort(cut.begin(), cut.end());
  return cut;
}

SamplingParams RandomParams(int32_t vocab, Dice& dice) {
  float temperature = 0.1f + 2 * dice.Fraction();
  if (dice.OneIn(4)) temperature = std::ldexp(1.0f, static_cast<int>(dice.Between(-16, 14)));
  if (dice.OneIn(6)) temperature = 0;
  const int64_t top_k = dice.OneIn(2)   ? 0
                        : dice.OneIn(2) ? dice.Between(1, 256)
                                        : dice.Between(1, vocab + 100);
  float top_p = 1;
  if (dice.OneIn(2)) {
    top_p = dice.OneIn(3) ? 1 - 1e-4f * dice.Fraction() : std::max(1e-4f, dice.Fraction());
  }
  const float min_p = dice.OneIn(3) ? dice.Fraction() * (dice.OneIn(2) ? 0.2f : 0.99f) : 0.0f;
  return Params(temperature, static_cast<int32_t>(top_k), top_p, min_p);
}

std::vector<float> RandomLogits(int32_t vocab, Dice& dice) {
  const auto anywhere = [&](std::vector<float>& logits) -> float& {
    return logits[static_cast<size_t>(dice.Between(0, vocab - 1))];
  };
  std::vector<float> logits = Normal(vocab, dice.Seed(), -3, 1 + 3 * dice.Fraction());
  switch (dice.Between(0, 7)) {
    case 0:
      return AwkwardLogits(vocab, dice.Seed());
    case 1:
      return std::vector<float>(static_cast<size_t>(vocab), dice.Fraction());
    case 2:  // most round together
      return Normal(vocab, dice.Seed(), 1000, 6e-5f);
    case 3:
      return Normal(vocab, dice.Seed(), 0, 60);
    case 4:  // ties
      for (float& x : logits) x = std::round(x);
      return logits;
    case 5:
      for (int i = 0; i < 3; ++i) anywhere(logits) = dice.OneIn(2) ? kInf : 30.0f;
      return logits;
    case 6:  // few are allowed
      logits.assign(logits.size(), -kInf);
      for (int64_t i = dice.Between(1, 5); i > 0; --i) anywhere(logits) = dice.Fraction();
      return logits;
    default:
      return logits;
  }
}

TEST(DeviceSamplingRandom, TokensAndLogprobsAreTheCpus) {
  OCTET_REQUIRE_GPU();
  Dice dice;
  for (int i = 0; i < kCases; ++i) {
    const auto vocab =
        static_cast<int32_t>(dice.OneIn(3) ? dice.Between(3000, 12000) : dice.Between(700, 3000));
    const std::vector<int32_t> cut = RandomCut(vocab, dice);
    std::ostringstream what;
    what << "vocabulary " << vocab << " cut at";
    for (const int32_t end : cut) what << " " << end;
    std::vector<Sequence> sequences;
    std::vector<AskedRow> asked;
    for (int64_t rows = dice.Between(1, 6); rows > 0; --rows) {
      const SamplingParams params = RandomParams(vocab, dice);
      what << " | temperature " << params.temperature << " top_k " << params.top_k << " top_p "
           << params.top_p << " min_p " << params.min_p;
      sequences.push_back(RandomSequence(vocab, params, dice.Seed()));
      asked.push_back({.slot = static_cast<int32_t>(asked.size()),
                       .position = sequences.back().position(),
                       .best = sequences.back().logprobs,
                       .sampling = sequences.back().sampling,
                       .logits = RandomLogits(vocab, dice)});
    }
    SCOPED_TRACE(what.str());
    std::vector<SlotAdmission> admissions;
    for (size_t row = 0; row < sequences.size(); ++row) {
      admissions.push_back(
          sequences[row].Admission(static_cast<int32_t>(row), sequences[row].tokens.size()));
    }
    DeviceRanks ranks(cut, static_cast<int64_t>(sequences.size()));
    ranks.Admit(admissions);
    for (const std::vector<Answer>& of_rank : ranks.Run(asked)) {
      for (size_t row = 0; row < sequences.size(); ++row) {
        const Answer wanted = ChosenByCpu(sequences[row], asked[row].logits);
        ASSERT_EQ(of_rank[row].token, wanted.token) << "row " << row;
        ASSERT_TRUE(of_rank[row].told == wanted.told) << "row " << row;
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels::test
