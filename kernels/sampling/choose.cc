// The choice of a token from candidates or from a whole row. Every rank runs this on the same bytes
// and must reach the same token: exp is ours (lanes.h), and weights are added as integers, so that
// no order of a sum matters and nothing needs to be sorted.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernels/sampling/sampling.h"
#include "kernels/sampling/sampling_row.h"

namespace octet::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool BetterLogit(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

// Scores become weights relative to `max`.
void Weigh(std::span<Candidate> candidates, float max, float temperature) {
  constexpr size_t kBatch = 256;
  std::array<float, kBatch> values;
  for (size_t begin = 0; begin < candidates.size(); begin += kBatch) {
    const std::span<Candidate> batch =
        candidates.subspan(begin, std::min(kBatch, candidates.size() - begin));
    for (size_t i = 0; i < batch.size(); ++i) values[i] = batch[i].logit;
    ActiveSampling().weigh(values.data(), static_cast<int64_t>(batch.size()), max, temperature);
    for (size_t i = 0; i < batch.size(); ++i) batch[i].score = values[i];
  }
}

uint64_t MassOf(std::span<const Candidate> weighed) {
  uint64_t mass = 0;
  for (const Candidate& candidate : weighed) mass += Mass(candidate.score);
  return mass;
}

// How many of the best it takes until their mass exceeds `target`; those come to the front, the
// last of them last. REQUIRES: the mass of all exceeds it.
size_t CountAbove(std::span<Candidate> weighed, uint64_t target) {
  size_t begin = 0;
  size_t end = weighed.size();
  uint64_t before = 0;  // mass of [0, begin)
  while (end - begin > 1) {
    const size_t middle = begin + (end - begin) / 2;
    std::nth_element(weighed.begin() + static_cast<int64_t>(begin),
                     weighed.begin() + static_cast<int64_t>(middle),
                     weighed.begin() + static_cast<int64_t>(end), BetterLogit);
    const uint64_t mass = MassOf(weighed.subspan(begin, middle - begin));
    if (before + mass > target) {
      end = middle;
    } else {
      before += mass;
      begin = middle;
    }
  }
  return begin + 1;
}

// Top-p (of `total`), min-p, then the inverse of the distribution at one uniform.
int32_t Draw(const SamplingParams& params, int64_t position, std::span<Candidate> weighed,
             uint64_t total) {
  if (params.top_p < 1.0f) {
    weighed = weighed.first(CountAbove(weighed, WantedMass(params.top_p, total) - 1));
  }
  const auto end = std::partition(weighed.begin(), weighed.end(),
                                  [&](const Candidate& c) { return c.score >= params.min_p; });
  weighed = weighed.first(static_cast<size_t>(end - weighed.begin()));
  const uint64_t target = DrawnMass(params, position, MassOf(weighed));
  return weighed[CountAbove(weighed, target) - 1].token;
}

// The candidates of the row whose logit is at least `threshold`.
std::span<Candidate> Collect(const RowLogits& row, float threshold, std::span<Candidate> scratch) {
  size_t count = 0;
  for (int64_t i = 0; i < row.tokens; ++i) {
    const float logit = row.logits[i];
    if (!(logit >= threshold) || logit == -kInfinity) continue;
    scratch[count++] = {logit, logit, static_cast<int32_t>(i)};
  }
  return scratch.first(count);
}

// Chooses from the best top_k of candidates of which the best has the logit `max`.
int32_t ChooseFromBest(const SamplingParams& params, int64_t position, float max,
                       std::span<Candidate> candidates) {
  const auto k = static_cast<size_t>(params.top_k);
  if (candidates.size() > k) {
    std::nth_element(candidates.begin(), candidates.begin() + params.top_k, candidates.end(),
                     BetterLogit);
    candidates = candidates.first(k);
  }
  Weigh(candidates, max, params.temperature);
  return Draw(params, position, candidates, MassOf(candidates));
}

int32_t ChooseTopK(const SamplingParams& params, int64_t position, const RowLogits& row, float max,
                   std::span<Candidate> scratch) {
  std::array<float, kSpansMax> maxima;
  const int64_t spans = SpanCount(row);
  SpanMaxima(row, 0, spans, maxima.data());
  const float threshold = BestThreshold({maxima.data(), static_cast<size_t>(spans)}, params.top_k);
  return ChooseFromBest(params, position, max, Collect(row, threshold, scratch));
}

// Top-p and min-p of the whole row. Only tokens within `depth` of the best, in units of
// temperature, are looked at; deeper until they hold the share. How deep changes no result.
int32_t ChooseShare(const SamplingParams& params, int64_t position, const RowLogits& row, float max,
                    std::span<Candidate> scratch) {
  // A weight below 2^-40 has no mass, and nothing below min-p is kept. Both depths and the cut have
  // room for roundings: too deep costs time only.
  constexpr float kDeepest = 28.0f;
  const float deepest =
      params.min_p > 0 ? std::min(kDeepest, 0.01f - std::log(params.min_p)) : kDeepest;
  const uint64_t total = params.top_p < 1.0f ? ActiveSampling().mass_of(row.logits, row.tokens, max,
                                                                        params.temperature)
                                             : 0;
  for (float depth = params.top_p < 1.0f ? 4.0f : deepest;; depth *= 2) {
    const bool last = depth >= deepest;
    const float cut = std::min(depth, deepest) * params.temperature + 1e-6f * std::abs(max);
    const std::span<Candidate> found = Collect(row, max - cut, scratch);
    Weigh(found, max, params.temperature);
    const uint64_t held = MassOf(found);
    if (params.top_p >= 1.0f) return Draw(params, position, found, held);
    if (held >= WantedMass(params.top_p, total)) return Draw(params, position, found, total);
    if (!last) continue;
    // Min-p is the narrower filter: all that top-p would add is below it.
    SamplingParams min_p_only = params;
    min_p_only.top_p = 1.0f;
    return Draw(min_p_only, position, found, held);
  }
}

}  // namespace

int32_t ChooseFromCandidates(const SamplingParams& params, int64_t position,
                             std::span<const Candidate> candidates, std::span<Candidate> scratch) {
  if (candidates.empty()) return -1;
  const Candidate& best = *std::min_element(candidates.begin(), candidates.end(), Better);
  if (best.token < 0 || ChoosesBestScore(params) || best.logit == kInfinity) return best.token;
  OCTET_CHECK_GE(scratch.size(), candidates.size());
  const auto end = std::copy_if(candidates.begin(), candidates.end(), scratch.begin(),
                                [](const Candidate& c) { return c.token >= 0; });
  const auto real = static_cast<size_t>(end - scratch.begin());
  return ChooseFromBest(params, position, best.logit, scratch.first(real));
}

int32_t ChooseFromLogits(const SamplingParams& params, int64_t position,
                         std::span<const float> logits, std::span<Candidate> scratch) {
  OCTET_CHECK_LE(static_cast<int64_t>(logits.size()), kSampledVocabMax);
  const RowLogits row = {logits.data(), static_cast<int64_t>(logits.size()), 0};
  if (ChoosesBestScore(params)) return BestScore(row, params, position).token;
  SamplingParams greedy;
  greedy.temperature = 0;
  const Candidate best = BestScore(row, greedy, position);
  if (best.token < 0 || best.logit == kInfinity) return best.token;
  OCTET_CHECK_GE(scratch.size(), logits.size());
  return params.top_k > 0 ? ChooseTopK(params, position, row, best.logit, scratch)
                          : ChooseShare(params, position, row, best.logit, scratch);
}

}  // namespace octet::kernels
