// The choice of a token from candidates or from a whole row. Every rank runs this on the same bytes
// and must reach the same token: exp is ours (lanes.h), sums run in double in a fixed order.
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

// 53 random bits in [0, 1).
double Uniform(const SamplingParams& params, int64_t position) {
  const std::array<uint32_t, 4> words =
      Philox(params.seed, static_cast<uint64_t>(position), kDrawIndex, params.sample_index);
  const uint64_t bits = (uint64_t{words[0]} << 21) | (words[1] >> 11);
  return static_cast<double>(bits) * 0x1p-53;
}

// Turns scores into weights.
void Weigh(std::span<Candidate> sorted, float temperature) {
  const float max = sorted[0].logit;
  for (Candidate& candidate : sorted) {
    candidate.score = WeightOf(candidate.logit, max, temperature);
  }
}

struct Kept {
  size_t count = 0;
  bool reached = false;  // top-p was satisfied within the run
};

// How many of the weighed candidates, best first, top-p keeps of a total weight.
Kept KeepShare(std::span<const Candidate> sorted, float top_p, double total) {
  if (top_p >= 1.0f) return {sorted.size(), true};
  const double wanted = double{top_p} * total;
  double sum = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    sum += sorted[i].score;
    if (sum >= wanted) return {i + 1, true};
  }
  return {sorted.size(), false};
}

// Min-p, then the inverse of the distribution at one uniform.
int32_t Draw(const SamplingParams& params, int64_t position, std::span<const Candidate> kept) {
  size_t count = 1;  // the best is always kept
  double total = kept[0].score;
  while (count < kept.size() && kept[count].score > 0 && kept[count].score >= params.min_p) {
    total += kept[count++].score;
  }
  const double wanted = Uniform(params, position) * total;
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    sum += kept[i].score;
    if (sum > wanted) return kept[i].token;
  }
  return kept[count - 1].token;
}

// Chooses from the best candidates in order, of which the first is finite.
int32_t ChooseSorted(const SamplingParams& params, int64_t position, std::span<Candidate> sorted) {
  Weigh(sorted, params.temperature);
  double total = 0;
  for (const Candidate& candidate : sorted) total += candidate.score;
  return Draw(params, position, sorted.first(KeepShare(sorted, params.top_p, total).count));
}

// The candidates of the row whose logit is at least `threshold`, in order of their id.
std::span<Candidate> Collect(std::span<const float> logits, float threshold,
                             std::span<Candidate> scratch) {
  size_t count = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] >= threshold) || logits[i] == -kInfinity) continue;
    scratch[count++] = {logits[i], logits[i], static_cast<int32_t>(i)};
  }
  return scratch.first(count);
}

// Keeps the best k, in order.
std::span<Candidate> SortBest(std::span<Candidate> candidates, size_t k) {
  if (candidates.size() > k) {
    std::nth_element(candidates.begin(), candidates.begin() + static_cast<int64_t>(k),
                     candidates.end(), Better);
    candidates = candidates.first(k);
  }
  std::sort(candidates.begin(), candidates.end(), Better);
  return candidates;
}

int32_t ChooseTopK(const SamplingParams& params, int64_t position, const RowLogits& row,
                   std::span<Candidate> scratch) {
  std::array<float, kSpansMax> maxima;
  const int64_t spans = SpanCount(row);
  SpanMaxima(row, 0, spans, maxima.data());
  const float threshold = BestThreshold({maxima.data(), static_cast<size_t>(spans)}, params.top_k);
  const std::span<const float> logits(row.logits, static_cast<size_t>(row.tokens));
  return ChooseSorted(
      params, position,
      SortBest(Collect(logits, threshold, scratch), static_cast<size_t>(params.top_k)));
}

// Top-p and min-p of the whole row. Only the best tokens are sorted: those within `depth` of the
// best in units of temperature, deeper until they hold the share. How deep changes no result.
int32_t ChooseShare(const SamplingParams& params, int64_t position, const RowLogits& row, float max,
                    std::span<Candidate> scratch) {
  const std::span<const float> logits(row.logits, static_cast<size_t>(row.tokens));
  const float temperature = params.temperature;
  double total = 0;
  for (int64_t i = 0; i < row.tokens; i += kSamplingTile) {
    const int64_t count = std::min(kSamplingTile, row.tokens - i);
    total += ActiveSampling().sum_of_weights(row.logits + i, count, max, temperature);
  }
  // Below exp(-87) a weight is 0; nothing below min-p is kept, and that bound is only estimated.
  const float deepest = params.min_p > 0 ? std::min(88.0f, 0.01f - std::log(params.min_p)) : 88.0f;
  for (float depth = params.top_p < 1.0f ? 4.0f : deepest;; depth *= 2) {
    const bool last = depth >= deepest;
    std::span<Candidate> found =
        Collect(logits, max - std::min(depth, deepest) * temperature, scratch);
    double held = 0;
    for (const Candidate& candidate : found) {
      held += WeightOf(candidate.logit, max, temperature);
    }
    if (!last && held < double{params.top_p} * total) continue;
    found = SortBest(found, found.size());
    Weigh(found, temperature);
    const Kept kept = KeepShare(found, params.top_p, total);
    if (kept.reached || last) return Draw(params, position, found.first(kept.count));
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
  return ChooseSorted(params, position,
                      SortBest(scratch.first(real), static_cast<size_t>(params.top_k)));
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
  return params.top_k > 0 ? ChooseTopK(params, position, row, scratch)
                          : ChooseShare(params, position, row, best.logit, scratch);
}

}  // namespace octet::kernels
