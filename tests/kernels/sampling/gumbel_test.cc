// The search for the Gumbel maximum, and the bounds by which it passes over tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "kernels/sampling/sampling_row.h"
#include "tests/kernels/sampling/all_params.h"
#include "tests/kernels/sampling/awkward_logits.h"

namespace octet::kernels::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

uint32_t WordOf(const NoiseKey& key, uint32_t token) {
  return Philox(key.seed, key.position, token / 4, key.sample_index)[token % 4];
}

// By the score of every token.
Candidate BestOfAll(const RowLogits& row, const SamplingParams& params, int64_t position) {
  const NoiseKey key{params.seed, static_cast<uint64_t>(position), params.sample_index};
  Candidate best;
  for (int64_t i = 0; i < row.tokens; ++i) {
    const float logit = row.logits[i];
    if (!(logit > -kInf)) continue;
    const auto token = static_cast<int32_t>(row.token_begin + i);
    const float noise = GumbelNoise(WordOf(key, static_cast<uint32_t>(token)));
    const Candidate offered{logit / params.temperature + noise, logit, token};
    if (Better(offered, best)) best = offered;
  }
  return best;
}

void ExpectBestOfAll(const std::vector<float>& logits, int64_t begin, const SamplingParams& params,
                     int64_t position) {
  const RowLogits row{logits.data(), static_cast<int64_t>(logits.size()), begin};
  const Candidate wanted = BestOfAll(row, params, position);
  for (const Isa isa : AvailableIsas()) {
    IsaScope scope(isa);
    const Candidate found = BestScore(row, params, position);
    EXPECT_EQ(found.token, wanted.token) << IsaName(isa) << " " << params.temperature;
    EXPECT_EQ(found.score, wanted.score) << IsaName(isa) << " " << params.temperature;
    EXPECT_EQ(found.logit, wanted.logit) << IsaName(isa) << " " << params.temperature;
  }
}

TEST(GumbelTest, NoiseIsBelowItsBound) {
  double above = 0;  // of small words
  const auto check = [&](uint32_t word) {
    ASSERT_GE(GumbelNoiseBound(word), GumbelNoise(word) - 5e-6f) << word;
    if (word > 0 && word < 1u << 24) {
      above = std::max(above, double{GumbelNoiseBound(word)} - double{GumbelNoise(word)});
    }
  };
  for (int bit = 0; bit < 32; ++bit) {
    const uint32_t power = 1u << bit;
    for (uint32_t word = power - std::min(power, 40u); word < power + 40; ++word) check(word);
  }
  for (uint32_t word = ~0u; word > ~0u - 300; --word) check(word);
  for (uint64_t word = 3; word <= ~0u; word += 65521) check(static_cast<uint32_t>(word));
  EXPECT_LT(above, 0.41);  // at word 1, whose half is a third of it
}

TEST(GumbelTest, WordsAtTheLimitAreFoundAndNoneAbove) {
  const NoiseKey key{0x123456789abcdefull, 0x1122334455667788ull, 0xfedcba98u};
  for (const uint32_t index : {0u, 32u, 0x3ffe0u}) {
    for (const int64_t tokens : {kNoiseTokens, 3 * kNoiseTokens, kSamplingTile}) {
      std::vector<uint32_t> words;
      for (uint32_t i = 0; i < tokens; ++i) words.push_back(WordOf(key, index * 4 + i));
      std::vector<uint32_t> limits = {0, 1, 0x7fffffffu, 0x80000000u, ~0u};
      for (const uint32_t word : words) limits.insert(limits.end(), {word - 1, word, word + 1});
      for (const Isa isa : AvailableIsas()) {
        IsaScope scope(isa);
        for (const uint32_t limit : limits) {
          std::map<uint32_t, uint32_t> wanted, found;
          for (uint32_t i = 0; i < tokens; ++i) {
            if (words[i] <= limit) wanted[i] = words[i];
          }
          SmallWords small;
          ActiveSampling().find_words(key, index, tokens, limit, &small);
          for (int64_t n = 0; n < small.count; ++n) found[small.places[n]] = small.words[n];
          ASSERT_EQ(small.count, static_cast<int64_t>(wanted.size())) << IsaName(isa);
          ASSERT_TRUE(found == wanted) << IsaName(isa) << " limit " << limit;
        }
      }
    }
  }
}

TEST(GumbelTest, PassingOverTokensLosesNoMaximum) {
  // Spreads from flat (no token is passed over) to steep.
  for (float deviation : {0.0f, 0.3f, 2.0f, 8.0f, 60.0f}) {
    const std::vector<float> logits = Normal(4000, 5, 3.0f, deviation);
    for (float temperature : {0.2f, 1.0f, 4.0f}) {
      for (int64_t position = 0; position < 20; ++position) {
        ExpectBestOfAll(logits, 512, Params(temperature, 0, 1, 0, 77), position);
      }
    }
  }
}

TEST(GumbelTest, AwkwardRowsLoseNoMaximum) {
  uint64_t seed = 0;
  for (float temperature : {kGreedyBelow, 1e-3f, 0.7f, 30.0f, 1e6f, 3e38f}) {
    for (int64_t tokens : {1, 3, 127, 129, 512, 1111, 2600}) {
      for (int64_t begin : {0, 512, 700, 5 * 512 - 1}) {
        const SamplingParams params = Params(temperature, 0, 1, 0, ++seed);
        std::vector<float> logits = AwkwardLogits(tokens, static_cast<uint32_t>(seed));
        ExpectBestOfAll(logits, begin, params, 3);
        // One token may be chosen; none; all the same; quotients that overflow either way.
        const float allowed = logits.back();
        std::fill(logits.begin(), logits.end(), -kInf);
        ExpectBestOfAll(logits, begin, params, 3);
        logits.back() = allowed;
        ExpectBestOfAll(logits, begin, params, 3);
        for (const float same : {0.0f, -7.0f, 3e38f, -3e38f, kInf, std::nanf("")}) {
          std::fill(logits.begin(), logits.end(), same);
          ExpectBestOfAll(logits, begin, params, 3);
        }
      }
    }
  }
}

// Far from zero a score is rounded to eights and all of its noise may go with that.
TEST(GumbelTest, ScoresThatRoundTogetherLoseNoMaximum) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    std::vector<float> logits = Normal(3000, seed, 0, 1);
    for (float& logit : logits) logit = 1000.0f + 6e-5f * logit;
    for (const float temperature : {1e-5f, 1.3e-5f, 5e-5f}) {
      ExpectBestOfAll(logits, 512, Params(temperature, 0, 1, 0, seed), 1);
    }
  }
}

// The first words that are tried of a tile may hold no token that can be chosen, or not the best.
TEST(GumbelTest, ATileIsSearchedOnWhereItsSmallWordsDoNotWin) {
  for (int64_t position = 0; position < 50; ++position) {
    const SamplingParams params = Params(1, 0, 1, 0, 5);
    const NoiseKey key{params.seed, static_cast<uint64_t>(position), 0};
    std::vector<float> logits(kSamplingTile, 0.0f);
    for (uint32_t i = 0; i < kSamplingTile; ++i) {
      if (WordOf(key, i) < 0x10000000u) logits[i] = position % 2 == 0 ? -kInf : -9.0f;
    }
    ExpectBestOfAll(logits, 0, params, position);
  }
}

}  // namespace
}  // namespace octet::kernels::test
