#include "kernels/sampling/sampling_row.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/isa.h"
#include "kernels/sampling/sampling_lanes.h"

namespace octet::kernels {

const SamplingBody kPlainSampling = kBody;

namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

// The part of the row in the tile that begins at token `tile` (a multiple of 512), as local
// indices.
struct LocalRange {
  int64_t begin = 0;
  int64_t end = 0;
};
LocalRange InTile(const RowLogits& row, int64_t tile) {
  return {std::max<int64_t>(tile - row.token_begin, 0),
          std::min(tile + kSamplingTile - row.token_begin, row.tokens)};
}
int64_t FirstTile(const RowLogits& row) { return row.token_begin / kSamplingTile * kSamplingTile; }

Candidate Greedy(const RowLogits& row) {
  const float max = ActiveSampling().max_of(row.logits, row.tokens);
  if (max == kNone) return {};
  const float* at = std::find(row.logits, row.logits + row.tokens, max);
  return {max, max, static_cast<int32_t>(row.token_begin + (at - row.logits))};
}

// What roundings to f32 can add to a score of a token whose logit is `mean` temperatures.
double RoundingSlack(double mean, double best) {
  return 1e-6 * (std::abs(best) + std::abs(mean) + 30);
}

// Whether a word can lift a token of a tile whose best logit is `logit` to `best`: as
// -log(1 - v) >= v, the noise is at most -log(v), so only words up to this limit can. False: no
// word can.
bool WordLimit(float logit, float temperature, float best, uint32_t* limit) {
  constexpr uint32_t kAll = 0xffffffffu;
  const double mean = logit / temperature;
  const double missing = best - mean;
  *limit = kAll;
  if (!(missing > 0) || std::isinf(mean) || std::isinf(best)) return true;
  const double words = std::exp(RoundingSlack(mean, best) - missing) * 0x1p32 + 1;
  if (words < kAll) *limit = static_cast<uint32_t>(words);
  // The least word, 0, stands for v = 2^-33.
  return words - 1 >= 0.5;
}

// The same of one token and its word, without an exponential.
bool MayReach(float mean, uint32_t word, float best) {
  const double most = double{mean} + double{GumbelNoiseBound(word)};
  return !(most < best - RoundingSlack(mean, best));
}

// The Gumbel maximum, tile by tile; tiles and words that can not win are passed over.
class GumbelSearch {
 public:
  GumbelSearch(const RowLogits& row, const SamplingParams& params, int64_t position)
      : row_(row),
        temperature_(params.temperature),
        noise_{params.seed, static_cast<uint64_t>(position), params.sample_index} {}

  // A token of a great logit, so that the first tile has a score to go by.
  void OfferFirst(int64_t i) {
    const auto token = static_cast<uint32_t>(row_.token_begin + i);
    Offer(i, Philox(noise_.seed, noise_.position, token / 4, noise_.sample_index)[token % 4]);
  }

  void Visit(int64_t tile, float tile_max) {
    // Where the best score so far rules out little, a few words of the tile are tried first: their
    // scores are likely to rule out most of the others.
    constexpr uint32_t kFew = 8 * (0xffffffffu / kSamplingTile);
    uint32_t limit = 0;
    for (uint32_t tried = 0; Limit(tile_max, &limit) && (tried == 0 || tried < limit);) {
      tried = tried == 0 ? std::min(limit, kFew) : limit;
      OfferSmallWords(tile, tried);
      if (tried == limit) return;
    }
  }
  const Candidate& best() const { return best_; }

 private:
  bool Limit(float tile_max, uint32_t* limit) const {
    if (tile_max == kNone) return false;
    *limit = 0xffffffffu;
    return best_.token < 0 || WordLimit(tile_max, temperature_, best_.score, limit);
  }

  void OfferSmallWords(int64_t tile, uint32_t limit) {
    const LocalRange range = InTile(row_, tile);
    const int64_t end = row_.token_begin + range.end - tile;
    body_.find_words(noise_, static_cast<uint32_t>(tile / 4),
                     (end + kNoiseTokens - 1) / kNoiseTokens * kNoiseTokens, limit, &found_);
    for (int64_t n = 0; n < found_.count; ++n) {
      const int64_t i = tile - row_.token_begin + found_.places[n];
      if (i >= range.begin && i < range.end) Offer(i, found_.words[n]);
    }
  }

  void Offer(int64_t i, uint32_t word) {
    const float logit = row_.logits[i];
    if (!(logit > kNone)) return;
    const float mean = logit / temperature_;
    if (best_.token >= 0 && !MayReach(mean, word, best_.score)) return;
    const Candidate offered = {mean + GumbelNoise(word), logit,
                               static_cast<int32_t>(row_.token_begin + i)};
    if (Better(offered, best_)) best_ = offered;
  }

  const SamplingBody& body_ = ActiveSampling();
  const RowLogits& row_;
  const float temperature_;
  const NoiseKey noise_;
  SmallWords found_;  // of the tile that is being visited
  Candidate best_;
};

Candidate GumbelMaximum(const RowLogits& row, const SamplingParams& params, int64_t position) {
  std::array<float, kSampledVocabMax / kSamplingTile + 1> maxima;
  const int64_t first = FirstTile(row);
  const int64_t tiles = (row.token_begin + row.tokens - first + kSamplingTile - 1) / kSamplingTile;
  const SamplingBody& body = ActiveSampling();
  for (int64_t t = 0; t < tiles; ++t) {
    const LocalRange range = InTile(row, first + t * kSamplingTile);
    maxima[t] = body.max_of(row.logits + range.begin, range.end - range.begin);
  }
  // The best logit first, then its tile: most others then can not win. The order changes no result.
  const int64_t top = std::max_element(maxima.begin(), maxima.begin() + tiles) - maxima.begin();
  if (maxima[top] == kNone) return {};
  GumbelSearch search(row, params, position);
  const LocalRange range = InTile(row, first + top * kSamplingTile);
  search.OfferFirst(std::find(row.logits + range.begin, row.logits + range.end, maxima[top]) -
                    row.logits);
  search.Visit(first + top * kSamplingTile, maxima[top]);
  for (int64_t t = 0; t < tiles; ++t) {
    if (t != top) search.Visit(first + t * kSamplingTile, maxima[t]);
  }
  return search.best();
}

}  // namespace

const SamplingBody& ActiveSampling() {
  return OfActiveIsa(kPlainSampling, kAvx2Sampling, kAvx512Sampling);
}

Candidate BestScore(const RowLogits& row, const SamplingParams& params, int64_t position) {
  if (row.tokens == 0) return {};
  return IsGreedy(params) ? Greedy(row) : GumbelMaximum(row, params, position);
}

int64_t SpanCount(const RowLogits& row) { return (row.tokens + kSpanTokens - 1) / kSpanTokens; }

void SpanMaxima(const RowLogits& row, int64_t begin, int64_t end, float* maxima) {
  for (int64_t span = begin; span < end; ++span) {
    const int64_t first = span * kSpanTokens;
    const int64_t count = std::min(kSpanTokens, row.tokens - first);
    maxima[span] = ActiveSampling().max_of(row.logits + first, count);
  }
}

float BestThreshold(std::span<const float> maxima, int64_t k) {
  if (static_cast<int64_t>(maxima.size()) < k) return kNone;
  std::array<float, kSpansMax> order;
  std::copy(maxima.begin(), maxima.end(), order.begin());
  const auto end = order.begin() + static_cast<int64_t>(maxima.size());
  std::nth_element(order.begin(), order.begin() + k - 1, end, std::greater<float>());
  return order[k - 1];
}

void SelectBest(const RowLogits& row, std::span<const float> maxima, int32_t count,
                Candidate* out) {
  const float threshold = BestThreshold(maxima, count);
  int64_t held = 0;
  for (size_t span = 0; span < maxima.size(); ++span) {
    const float max = maxima[span];
    if (!(max >= threshold) || max == kNone) continue;
    const int64_t first = static_cast<int64_t>(span) * kSpanTokens;
    const int64_t end = std::min(first + kSpanTokens, row.tokens);
    for (int64_t i = first; i < end; ++i) {
      const float logit = row.logits[i];
      if (!(logit >= threshold) || logit == kNone) continue;
      const Candidate offered = {logit, logit, static_cast<int32_t>(row.token_begin + i)};
      if (held < count) {
        out[held++] = offered;
        std::push_heap(out, out + held, Better);
      } else if (Better(offered, out[0])) {  // out[0] is the worst held
        std::pop_heap(out, out + held, Better);
        out[held - 1] = offered;
        std::push_heap(out, out + held, Better);
      }
    }
  }
  std::sort_heap(out, out + held, Better);
  std::fill(out + held, out + count, Candidate{});
}

}  // namespace octet::kernels
