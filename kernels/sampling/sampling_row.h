// One row's logits on the CPU: its best scores, its best k, the weights of a softmax. Shared by the
// candidates of a rank and by the choice from a whole row.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "kernels/sampling/sampling.h"

namespace octet::kernels {

inline constexpr int64_t kNoiseTokens = 128;  // tokens whose noise is drawn together
inline constexpr int64_t kSpanTokens = 64;    // the best k are found by the maxima of such spans
inline constexpr int64_t kSpansMax = kSampledVocabMax / kSpanTokens;

// What a token's word of randomness depends on, beside the token.
struct NoiseKey {
  uint64_t seed = 0;
  uint64_t position = 0;
  uint32_t sample_index = 0;
};
// Small words among those of some tokens: their places after the first token that was asked about.
struct SmallWords {
  int64_t count = 0;
  // [count]; the rest is room that a family may write to.
  std::array<uint32_t, kSamplingTile + 16> places;
  std::array<uint32_t, kSamplingTile + 16> words;
};

// Loops over logits, from each instruction family; same bits.
struct SamplingBody {
  // The greatest; NaN is passed over, -inf if there is nothing else.
  float (*max_of)(const float* logits, int64_t count);
  // Finds the words of the tokens from index * 4 on that are at most `limit`, in any order.
  // REQUIRES: tokens is a multiple of kNoiseTokens, at most kSamplingTile.
  void (*find_words)(const NoiseKey& key, uint32_t index, int64_t tokens, uint32_t limit,
                     SmallWords* found);
  // values[i] = exp((values[i] - max) / temperature), the weight of a logit; 0 for NaN.
  void (*weigh)(float* values, int64_t count, float max, float temperature);
  // The mass of the weights of a row's logits.
  uint64_t (*mass_of)(const float* logits, int64_t count, float max, float temperature);
  // The sum of exp(logit - max), lane after lane (lanes.h); NaN counts for nothing, and where max
  // is infinite nothing does.
  float (*sum_exp)(const float* logits, int64_t count, float max);
};
extern const SamplingBody kPlainSampling;
extern const SamplingBody kAvx2Sampling;
extern const SamplingBody kAvx512Sampling;
const SamplingBody& ActiveSampling();

struct RowLogits {
  const float* logits = nullptr;  // [tokens]
  int64_t tokens = 0;
  int64_t token_begin = 0;  // id of the first
};

// The best score of the row, or no token. REQUIRES: ChoosesBestScore(params).
Candidate BestScore(const RowLogits& row, const SamplingParams& params, int64_t position);

// The maxima of the row's spans [begin, end), into maxima[begin, end).
void SpanMaxima(const RowLogits& row, int64_t begin, int64_t end, float* maxima);
int64_t SpanCount(const RowLogits& row);
// A logit that at least k of the row's reach, or -inf: nothing below is among the best k.
float BestThreshold(std::span<const float> maxima, int64_t k);
// The best `count` of the row by the maxima of its spans, best first, into out[count]; no token
// where there are no more. NaN and -inf are none.
void SelectBest(const RowLogits& row, std::span<const float> maxima, int32_t count, Candidate* out);

}  // namespace octet::kernels
