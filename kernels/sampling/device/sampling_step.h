// What the step image tells the sampling kernels: the rows that something is asked about, and where
// their bytes lie in the exchange. The host lays the exchange out (worker/engine/exchange_layout.h)
// and copies its sums; a place is then arithmetic (exchange_part.h).
#pragma once

#include <array>
#include <cstdint>

#include "kernels/sampling/exchange_part.h"

namespace octet::kernels {

// A row of the exchange: one that a token is drawn for, or one of a prompt that tells the
// log-probability of the token after it. Sampled rows come first, then those of prompts. Padding
// has no slot; its share may be candidates alone, which are none.
struct SamplingRow {
  int32_t slot = -1;       // -1: padding
  int32_t logits_row = 0;  // of the logits that OfferRows is given
  int64_t position = 0;    // of the token being drawn
  int32_t next_token =
      -1;             // of a prompt's row: whose log-probability is told; -1: a token is drawn
  int32_t told = -1;  // where the row's log-probabilities go; -1: none are told
  RowShare share;
  ExchangeSums before;
};

struct SamplingStep {
  ExchangeSums totals;
};

// The runs of vocabulary that the ranks hold, in order of rank.
inline constexpr int32_t kCutRanksMax = 32;
struct VocabCut {
  int32_t ranks = 1;
  int32_t rank = 0;                                // of this device
  std::array<int32_t, kCutRanksMax + 1> bounds{};  // [ranks + 1] token ids, multiples of
                                                   // kSamplingTile but for the last

  constexpr int32_t begin() const { return bounds[rank]; }
  constexpr int32_t held() const { return bounds[rank + 1] - bounds[rank]; }
  constexpr int32_t vocab() const { return bounds[ranks]; }
};

// Refuses what is no cut of the vocabulary into runs of whole tiles.
void CheckCut(const VocabCut& cut, int64_t vocab);

}  // namespace octet::kernels
