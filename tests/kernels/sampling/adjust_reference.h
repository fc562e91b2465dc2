// Adjustments by their definition: maps instead of dense counts, double instead of float, one rule
// after the other over the whole vocabulary.
#pragma once

#include <limits>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "kernels/sampling/adjust.h"

namespace octet::kernels::test {

// An adjustment that owns its lists.
struct OwnedAdjustment {
  std::vector<int32_t> banned;
  std::vector<TokenBias> bias;
  float repetition = 1, presence = 0, frequency = 0;
  std::vector<int32_t> prompt, answer;

  Adjustment view() const {
    return {.banned = banned,
            .bias = bias,
            .repetition_penalty = repetition,
            .presence_penalty = presence,
            .frequency_penalty = frequency,
            .prompt = prompt,
            .answer = answer};
  }
};

inline std::vector<double> AdjustedByDefinition(const OwnedAdjustment& a,
                                                const std::vector<float>& logits) {
  std::vector<double> wanted(logits.begin(), logits.end());
  const auto size = static_cast<int32_t>(wanted.size());
  for (const int32_t token : a.banned) {
    if (token < size) wanted[token] = -std::numeric_limits<double>::infinity();
  }
  for (const TokenBias& entry : a.bias) {
    if (entry.token < size) wanted[entry.token] += entry.bias;
  }
  std::map<int32_t, int> in_answer;
  for (const int32_t token : a.answer) ++in_answer[token];
  std::set<int32_t> anywhere(a.prompt.begin(), a.prompt.end());
  anywhere.insert(a.answer.begin(), a.answer.end());
  for (const int32_t token : anywhere) {
    double& logit = wanted[token];
    logit = logit > 0 ? logit / a.repetition : logit * a.repetition;
  }
  for (const auto& [token, count] : in_answer) wanted[token] -= count * double{a.frequency};
  for (const auto& [token, count] : in_answer) wanted[token] -= a.presence;
  return wanted;
}

// Histories of few tokens, so that they repeat; some ids are held by no rank.
inline OwnedAdjustment RandomAdjustment(int64_t vocab, uint32_t seed) {
  std::mt19937 engine(seed);
  const auto below = [&](int64_t bound) {
    return static_cast<int32_t>(engine() % static_cast<uint64_t>(bound));
  };
  const auto some = [&](int64_t bound) { return below(bound) / 8.0f; };
  OwnedAdjustment a;
  const std::vector<int32_t> favourites = {below(vocab), below(vocab), below(vocab)};
  for (int i = below(300); i > 0; --i) {
    a.prompt.push_back(below(3) == 0 ? favourites[i % 3] : below(vocab));
  }
  for (int i = below(300); i > 0; --i) {
    a.answer.push_back(below(3) == 0 ? favourites[i % 3] : below(vocab));
  }
  for (int32_t i = 0; i < below(40); ++i) {
    a.bias.push_back({static_cast<int32_t>((below(vocab / 50) * 50) + i), some(160) - 10});
  }
  for (int i = below(10); i > 0; --i) a.banned.push_back(below(vocab + 20));
  if (!favourites.empty() && below(2) == 0) a.banned.push_back(favourites[0]);
  a.repetition = 0.5f + some(12);
  a.presence = some(32) - 2;
  a.frequency = some(32) - 2;
  return a;
}

}  // namespace octet::kernels::test
