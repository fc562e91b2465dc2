// The products of attention_codes.h in plain C++.
#pragma once

#include "kernels/attention/attention_softmax.h"

namespace octet::kernels {
namespace {

// Weights are 16-bit words [64].
OCTET_INLINE uint8_t* WeightsOf(uint8_t* weights, int64_t vector) {
  return weights + vector * kKvBlockTokens * 2;
}
OCTET_INLINE void StoreWeights(uint8_t* weights, int i, F32x16 codes) {
  int16_t words[kLanes];
  StoreLowShorts(words, codes);
  std::memcpy(weights + i * sizeof(words), words, sizeof(words));
}

constexpr int kScoreRows = 1;
constexpr int kSumRows = 1;

template <int R>
OCTET_INLINE void ScoreCodes(const int16_t* q, int64_t, int64_t dim, const int8_t* k, Ahead& ahead,
                             int64_t lines, int32_t* dots) {
  ahead.Fetch(4 * lines);
  for (int64_t t = 0; t < kLanes; ++t, k += dim) {
    int32_t sum = 0;
    for (int64_t c = 0; c < dim; ++c) sum += int32_t{q[c]} * k[c];
    dots[t] = sum;
  }
}

template <int R>
OCTET_INLINE void SumCodes(uint8_t* weights, int64_t first, const int8_t* v, int64_t stride,
                           int64_t begin, int64_t end, Ahead& ahead, int64_t lines, int32_t* sums) {
  ahead.Fetch(16 * lines);
  std::memset(sums, 0, kSumDims * sizeof(int32_t));
  for (int64_t t = begin; t < end; ++t) {
    int16_t weight;
    std::memcpy(&weight, WeightsOf(weights, first) + 2 * t, 2);
    for (int64_t c = 0; c < kSumDims; ++c) sums[c] += int32_t{weight} * v[t * stride + c];
  }
}

}  // namespace
}  // namespace octet::kernels
