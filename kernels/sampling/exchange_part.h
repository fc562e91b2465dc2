// Where a row's bytes lie in a rank's part of the one exchange after the head, as arithmetic that
// the host and a device's kernels share. A part is, in this order: the rank's run of the logits of
// every row on route kLogits; the candidates of the other sampled rows; and of each row that tells
// log-probabilities its tile sums, its best logits and the raw logits of the tokens that may have
// to be told. All is 4-byte aligned.
//
// A place follows from the sums over the rows before it, the sums over all rows, and how many
// vocabulary entries the rank holds.
#pragma once

#include <cstdint>

#include "kernels/sampling/logprobs.h"
#include "kernels/sampling/sampling.h"

namespace octet::kernels {

// What one row brings to the exchange, from each rank.
struct RowShare {
  bool logits = false;     // the rank's run of them
  int32_t candidates = 0;  // Candidates
  bool tiles = false;      // a TileSum for each of the rank's tiles
  int32_t best = 0;        // Candidates, by raw logit
  int32_t raw_logits = 0;  // floats
};

// Sums over rows; they are the same on every rank.
struct ExchangeSums {
  int64_t logits_rows = 0;
  int64_t candidates = 0;
  int64_t tile_rows = 0;
  int64_t told_bytes = 0;  // of best and raw logits

  constexpr void Add(const RowShare& share) {
    logits_rows += share.logits ? 1 : 0;
    candidates += share.candidates;
    tile_rows += share.tiles ? 1 : 0;
    told_bytes += share.best * int64_t{sizeof(Candidate)} + share.raw_logits * int64_t{4};
  }
};

// The part of a rank that holds `vocab` entries. Of a kind that a row does not bring, the offset is
// where it would be.
class ExchangePart {
 public:
  constexpr ExchangePart(const ExchangeSums& totals, int64_t vocab)
      : totals_(totals), vocab_(vocab) {}

  constexpr int64_t bytes() const { return TilesAt(totals_); }
  constexpr int64_t LogitsAt(const ExchangeSums& before) const {
    return before.logits_rows * vocab_ * 4;
  }
  constexpr int64_t CandidatesAt(const ExchangeSums& before) const {
    return LogitsAt(totals_) + before.candidates * int64_t{sizeof(Candidate)};
  }
  constexpr int64_t TilesAt(const ExchangeSums& before) const {
    return CandidatesAt(totals_) + before.tile_rows * TilesBytes() + before.told_bytes;
  }
  constexpr int64_t BestAt(const ExchangeSums& before, const RowShare& share) const {
    return TilesAt(before) + (share.tiles ? TilesBytes() : 0);
  }
  constexpr int64_t RawLogitsAt(const ExchangeSums& before, const RowShare& share) const {
    return BestAt(before, share) + share.best * int64_t{sizeof(Candidate)};
  }

 private:
  constexpr int64_t TilesBytes() const { return TileCount(vocab_) * int64_t{sizeof(TileSum)}; }

  ExchangeSums totals_;
  int64_t vocab_;
};

}  // namespace octet::kernels
