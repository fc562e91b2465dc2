#include "kernels/sampling/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "tests/kernels/random.h"
#include "tests/kernels/sampling/all_params.h"
#include "tests/kernels/sampling/awkward_logits.h"
#include "tests/kernels/sampling/ranks.h"

namespace octet::kernels::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(SamplingTest, PhiloxAnswersTheKnownVectors) {
  // Random123, tests/kat_vectors, philox4x32 10.
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(Philox(0, 0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox(~0ull, ~0ull, ~0u, ~0u),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x13198a2e, 0x03707344),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(SamplingTest, RoutesFollowTheParameters) {
  const auto count = [](const SamplingParams& p) { return CandidateCount(p); };
  EXPECT_EQ(count(Params(0)), 1);
  EXPECT_EQ(count(Params(0, 40, 0.5f)), 1);
  EXPECT_EQ(count(Params(1)), 1);
  EXPECT_EQ(count(Params(1, 1)), 1);
  EXPECT_EQ(count(Params(1, 40, 0.5f, 0.1f)), 40);
  EXPECT_EQ(count(Params(1, 256)), 256);
  for (const SamplingParams& p :
       {Params(1, 257), Params(1, 0, 0.9f), Params(1, 0, 1, 0.1f), Params(0.5f, 0, 0.9f, 0.1f)}) {
    EXPECT_EQ(RouteOf(p), SamplingRoute::kLogits);
    EXPECT_EQ(count(p), 0);
  }
}

TEST(SamplingTest, GreedyTakesTheLowestOfEqualsAndNeverNan) {
  ThreadPool pool(2);
  Stream stream(&pool);
  std::vector<float> logits(3000, 0.0f);
  const auto choose = [&](float temperature = 0) {
    return ChooseAsRanks(Params(temperature), 0, logits, {0, 1024, 2048, 3000}, stream);
  };
  EXPECT_EQ(choose(), 0);
  logits[2999] = logits[2047] = logits[1500] = 2.0f;
  EXPECT_EQ(choose(), 1500);
  logits[7] = kNan;
  logits[1024] = -kInf;
  EXPECT_EQ(choose(), 1500);
  logits[2500] = logits[2600] = kInf;
  for (float temperature : {0.0f, 1e-9f, 0.7f}) EXPECT_EQ(choose(temperature), 2500);
  logits.assign(3000, -kInf);
  logits[123] = kNan;
  for (float temperature : {0.0f, 0.7f}) EXPECT_EQ(choose(temperature), -1);
  logits[2048] = -1e30f;
  for (float temperature : {0.0f, 0.7f}) EXPECT_EQ(choose(temperature), 2048);
}

TEST(SamplingTest, TokensDoNotDependOnRanksThreadsOrFamily) {
  const int64_t tokens = 5 * 512 + 77;
  const std::vector<std::vector<int64_t>> cuts = {
      {0, tokens},
      {0, 1536, tokens},
      {0, 1024, 2048, tokens},
      {0, 0, 512, 1024, 1024, 1536, 2048, 2560, tokens},
      {0, tokens, tokens},
  };
  for (uint32_t row = 0; row < 40; ++row) {
    const std::vector<float> logits = AwkwardLogits(tokens, row);
    for (SamplingParams params : AllParams()) {
      params.seed = 0x9876543210ull + row;
      std::vector<int32_t> chosen;
      for (int threads : {1, 3}) {
        ThreadPool pool(threads);
        Stream stream(&pool);
        for (Isa isa : AvailableIsas()) {
          IsaScope scope(isa);
          for (const auto& cut : cuts) {
            if (threads > 1 && row % 10 != 0) continue;
            chosen.push_back(ChooseAsRanks(params, row * 3, logits, cut, stream));
          }
        }
      }
      EXPECT_EQ(std::count(chosen.begin(), chosen.end(), chosen[0]),
                static_cast<int64_t>(chosen.size()))
          << params.temperature << " " << params.top_k << " " << params.top_p;
      EXPECT_TRUE(logits[chosen[0]] > -kInf);
    }
  }
}

TEST(SamplingTest, RoutesAgreeWhereBothApply) {
  ThreadPool pool(1);
  Stream stream(&pool);
  const int64_t tokens = 3000;
  std::vector<Candidate> scratch(tokens);
  for (uint32_t row = 0; row < 100; ++row) {
    const std::vector<float> logits = AwkwardLogits(tokens, row);
    for (SamplingParams params : AllParams()) {
      params.seed = row;
      if (RouteOf(params) == SamplingRoute::kLogits) continue;
      EXPECT_EQ(ChooseAsRanks(params, 9, logits, {0, 512, tokens}, stream),
                ChooseFromLogits(params, 9, logits, scratch));
    }
  }
}

TEST(SamplingTest, CandidatesAreTheBestInOrder) {
  for (Isa isa : AvailableIsas()) {
    IsaScope scope(isa);
    for (int threads : {1, 2}) {
      ThreadPool pool(threads);
      Stream stream(&pool);
      for (int64_t tokens : {0, 5, 64, 1000, 40000}) {
        const std::vector<float> logits = AwkwardLogits(tokens, static_cast<uint32_t>(tokens));
        std::vector<int32_t> order;
        for (int32_t i = 0; i < tokens; ++i) {
          if (logits[i] > -kInf) order.push_back(i);
        }
        std::stable_sort(order.begin(), order.end(),
                         [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
        for (int32_t k : {1, 7, 256}) {
          const auto offers = Offers(Params(1, k), 0, logits, {0, tokens}, stream);
          for (size_t i = 0; i < offers.size(); ++i) {
            EXPECT_EQ(offers[i].token, i < order.size() ? order[i] : -1);
          }
        }
      }
    }
  }
}

TEST(SamplingTest, ManyRowsGoWhereTheirOffsetsSay) {
  const int64_t rows = 9, tokens = 2000;
  const std::vector<float> logits = Normal(rows * tokens, 4);
  std::vector<SamplingParams> params;
  std::vector<int64_t> positions, offsets;
  int64_t next = 3;
  for (int64_t r = 0; r < rows; ++r) {
    params.push_back(AllParams()[r]);
    positions.push_back(r * 11);
    offsets.push_back(next);
    next += CandidateCount(params.back());
  }
  std::vector<Candidate> together(next);
  ThreadPool pool(2);
  Stream stream(&pool);
  LocalCandidates({logits.data(), tokens, 512, params, positions, offsets, together.data()},
                  stream);
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<Candidate> alone(kCandidatesMax);
    const int64_t zero = 0;
    LocalCandidates({logits.data() + r * tokens,
                     tokens,
                     512,
                     {&params[r], 1},
                     {&positions[r], 1},
                     {&zero, 1},
                     alone.data()},
                    stream);
    for (int32_t i = 0; i < CandidateCount(params[r]); ++i) {
      EXPECT_EQ(together[offsets[r] + i].token, alone[i].token);
      EXPECT_EQ(together[offsets[r] + i].score, alone[i].score);
    }
  }
}

}  // namespace
}  // namespace octet::kernels::test
