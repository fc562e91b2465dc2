// Sampling on a device against the CPU's, every option, exactly: the same tokens and the same
// log-probabilities, at every cut into ranks and every place in a batch.
#include <gtest/gtest.h>

#include <limits>

#include "tests/kernels/sampling/all_params.h"
#include "tests/kernels/sampling/device/device_ranks.h"

namespace octet::kernels::test {
namespace {

constexpr int32_t kVocab = 4 * 512 + 77;  // four tiles and a bit; two runs
constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

const std::vector<std::vector<int32_t>>& Cuts() {
  static const std::vector<std::vector<int32_t>> kCuts = {
      {0, kVocab}, {0, 1536, kVocab}, {0, 512, 2048, kVocab}, {0, 0, 1024, 1024, kVocab, kVocab}};
  return kCuts;
}

enum class Kind { kNormal, kAwkward, kSteps, kFlat, kTiny, kInfinite };
constexpr Kind kKinds[] = {Kind::kNormal, Kind::kAwkward, Kind::kSteps,
                           Kind::kFlat,   Kind::kTiny,    Kind::kInfinite};

std::vector<float> Logits(Kind kind, uint32_t seed) {
  std::vector<float> logits = Normal(kVocab, seed, 0, 3);
  const auto each = [&](const auto& change) {
    for (size_t i = 0; i < logits.size(); ++i) change(i, logits[i]);
  };
  switch (kind) {
    case Kind::kNormal:
      break;
    case Kind::kAwkward:
      for (size_t i = 0; i < logits.size(); i += 97) logits[i] = -kInf;
      for (size_t i = 5; i < logits.size(); i += 101) logits[i] = kNan;
      for (size_t i = 11; i < logits.size(); i += 64) logits[i] = 7.5f;  // ties
      break;
    case Kind::kSteps:  // ties everywhere, zeros of both signs
      each([](size_t, float& x) { x = std::round(x) * (x < 0 && x > -0.5f ? -1.0f : 1.0f); });
      break;
    case Kind::kFlat:
      each([](size_t, float& x) { x = 0.25f; });
      break;
    case Kind::kTiny:  // differences that the distance to the best rounds away
      each([](size_t, float& x) { x = 1.0f + x * 0x1p-22f; });
      break;
    case Kind::kInfinite:
      logits[1700] = logits[2100] = kInf;
      break;
  }
  return logits;
}

AskedRow Asked(const Sequence& sequence, int32_t slot, std::vector<float> logits) {
  return {.slot = slot,
          .position = sequence.position(),
          .best = sequence.logprobs,
          .sampling = sequence.sampling,
          .logits = std::move(logits)};
}

// Padding that takes part in the exchange.
AskedRow Padding() { return {.sampling = Params(0), .logits = std::vector<float>(kVocab, kNan)}; }

class DeviceSamplingTest : public testing::Test {
 protected:
  void SetUp() override { OCTET_REQUIRE_GPU(); }
};

TEST_F(DeviceSamplingTest, TokensAndLogprobsAreTheCpusOnAnyRanks) {
  uint32_t seed = 0;
  for (const Kind kind : kKinds) {
    std::vector<Sequence> sequences;
    std::vector<AskedRow> asked;
    for (const SamplingParams& params : AllParams()) {
      sequences.push_back(RandomSequence(kVocab, params, ++seed));
      asked.push_back(
          Asked(sequences.back(), static_cast<int32_t>(asked.size()), Logits(kind, seed)));
    }
    std::vector<SlotAdmission> admissions;
    for (size_t i = 0; i < sequences.size(); ++i) {
      admissions.push_back(
          sequences[i].Admission(static_cast<int32_t>(i), sequences[i].tokens.size()));
    }
    const auto& cut = Cuts()[static_cast<size_t>(kind) % Cuts().size()];
    DeviceRanks ranks(cut, static_cast<int64_t>(sequences.size()));
    ranks.Admit(admissions);
    for (const std::vector<Answer>& of_rank : ranks.Run(asked)) {
      for (size_t i = 0; i < sequences.size(); ++i) {
        const Answer wanted = ChosenByCpu(sequences[i], asked[i].logits);
        ASSERT_EQ(of_rank[i].token, wanted.token) << "kind " << int(kind) << " row " << i;
        ASSERT_TRUE(of_rank[i].told == wanted.told) << "kind " << int(kind) << " row " << i;
      }
    }
  }
}

TEST_F(DeviceSamplingTest, PlaceInTheBatchAndPaddingChangeNothing) {
  std::vector<Sequence> sequences;
  std::vector<SlotAdmission> admissions;
  const std::vector<size_t> routes = {0, 1, 5, 10};
  for (const size_t route : routes) {
    const auto slot = static_cast<int32_t>(sequences.size());
    sequences.push_back(RandomSequence(kVocab, AllParams()[route], 70 + slot));
  }
  for (size_t i = 0; i < sequences.size(); ++i) {
    admissions.push_back(
        sequences[i].Admission(static_cast<int32_t>(i) + 2, sequences[i].tokens.size()));
  }
  DeviceRanks ranks(Cuts()[1], 7);
  ranks.Admit(admissions);
  const std::vector<std::vector<int32_t>> orders = {
      {0, 1, 2, 3}, {3, -1, 2, 0, -1, 1}, {2}, {1, 0}};
  for (const std::vector<int32_t>& order : orders) {
    std::vector<AskedRow> asked;
    for (const int32_t i : order) {
      asked.push_back(i < 0 ? Padding()
                            : Asked(sequences[i], i + 2, Logits(Kind::kAwkward, 100 + i)));
    }
    const std::vector<Answer> found = ranks.Run(asked).back();
    for (size_t row = 0; row < order.size(); ++row) {
      const int32_t i = order[row];
      EXPECT_EQ(found[row],
                i < 0 ? Answer{} : ChosenByCpu(sequences[i], Logits(Kind::kAwkward, 100 + i)));
    }
  }
}

TEST_F(DeviceSamplingTest, ARowOfNoNumberGivesNoToken) {
  for (const size_t route : {0, 1, 4, 9}) {
    Sequence sequence{.sampling = AllParams()[route], .tokens = {1, 2}, .logprobs = 3};
    DeviceRanks ranks(Cuts()[2], 1);
    ranks.Admit({sequence.Admission(0, 0)});
    std::vector<float> logits(kVocab, kNan);
    for (size_t i = 3; i < logits.size(); i += 7) logits[i] = -kInf;
    for (const std::vector<Answer>& answers : ranks.Run({Asked(sequence, 0, logits)})) {
      EXPECT_EQ(answers[0], ChosenByCpu(sequence, logits));
      EXPECT_EQ(answers[0].token, -1);
      EXPECT_EQ(answers[0].told.logprob, kLogprobFloor);
    }
    EXPECT_EQ(ranks.Take({0}, {-1}, {2}), (std::vector<int32_t>{0}));  // the slot goes on
  }
}

TEST_F(DeviceSamplingTest, RowsOfPromptsTellTheTokenAfterThem) {
  Sequence sequence{.sampling = Params(1, 0, 0.9f), .tokens = {5, 6}, .logprobs = 2};
  for (const auto& cut : Cuts()) {
    DeviceRanks ranks(cut, 2);
    ranks.Admit({sequence.Admission(1, 0)});
    std::vector<AskedRow> asked = {Asked(sequence, 1, Logits(Kind::kNormal, 1))};
    std::vector<Answer> wanted = {ChosenByCpu(sequence, asked[0].logits)};
    for (const int32_t token : {0, 600, 2047, kVocab - 1}) {
      const auto best = token % 21;
      const std::vector<float> logits = Logits(Kind::kAwkward, static_cast<uint32_t>(token));
      asked.push_back({.slot = 1, .next_token = token, .best = best, .logits = logits});
      wanted.push_back({token, ToldByCpu(logits, token, best)});
    }
    for (const std::vector<Answer>& answers : ranks.Run(asked)) EXPECT_EQ(answers, wanted);
  }
}

// Prompts in chunks, then decode steps whose input tokens only the device knows; slots that are
// given to other sequences half way.
TEST_F(DeviceSamplingTest, StepsGoOnFromWhatTheDeviceKeeps) {
  constexpr int kSlots = 3;
  DeviceRanks ranks(Cuts()[1], kSlots);
  std::vector<Sequence> sequences;
  for (int step = 0; step < 6; ++step) {
    std::vector<int32_t> slots, given, positions;
    if (step % 3 == 0) {  // admissions: the first third of the prompt is cached, the rest follows
      sequences.clear();
      std::vector<SlotAdmission> admissions;
      for (int32_t slot = 0; slot < kSlots; ++slot) {
        Sequence sequence =
            RandomSequence(kVocab, Params(0.9f, slot * 20), static_cast<uint32_t>(step + slot));
        sequence.penalties = {1.3f, slot * 0.5f, 0.25f};
        sequence.logprobs = slot - 1;
        sequences.push_back(sequence);
      }
      for (int32_t slot = 0; slot < kSlots; ++slot) {
        const std::vector<int32_t>& tokens = sequences[slot].tokens;
        admissions.push_back(sequences[slot].Admission(slot, tokens.size() / 3));
        for (size_t i = tokens.size() / 3; i < tokens.size(); ++i) {
          slots.push_back(slot);
          given.push_back(tokens[i]);
          positions.push_back(static_cast<int32_t>(i));
        }
      }
      ranks.Admit(admissions);
    } else {
      for (int32_t slot = 0; slot < kSlots; ++slot) {
        slots.push_back(slot);
        given.push_back(-1);
        positions.push_back(static_cast<int32_t>(sequences[slot].position()) - 1);
      }
    }
    slots.push_back(-1);  // padding
    given.push_back(-1);
    positions.push_back(0);
    const std::vector<int32_t> taken = ranks.Take(slots, given, positions);
    for (size_t i = 0; i < taken.size(); ++i) {
      EXPECT_EQ(taken[i], slots[i] < 0 ? 0 : sequences[slots[i]].tokens[positions[i]]);
    }
    for (int32_t slot = 0; slot < kSlots; ++slot) {
      EXPECT_TRUE(ranks.Marks(slot) == sequences[slot].MarksNow(kVocab)) << step << " " << slot;
    }

    std::vector<AskedRow> asked;
    for (int32_t slot = 0; slot < kSlots; ++slot) {
      asked.push_back(Asked(sequences[slot], slot, Logits(Kind::kAwkward, step * 10 + slot)));
    }
    const std::vector<std::vector<Answer>> answers = ranks.Run(asked);
    for (int32_t slot = 0; slot < kSlots; ++slot) {
      const Answer wanted = ChosenByCpu(sequences[slot], asked[slot].logits);
      for (const std::vector<Answer>& of_rank : answers) EXPECT_EQ(of_rank[slot], wanted);
      sequences[slot].tokens.push_back(wanted.token);
    }
  }
}

}  // namespace
}  // namespace octet::kernels::test
