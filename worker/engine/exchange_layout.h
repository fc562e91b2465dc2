// Where each row's bytes lie in the one exchange after the head. A rank's part is, in this order:
// its run of the logits of every row on route kLogits; the candidates of the other sampled rows;
// and of each row that tells log-probabilities its tile sums, its best logits and the raw logits of
// the tokens that may have to be told. All is 4-byte aligned, and where nothing tells
// log-probabilities the part is the logits and candidates alone.
//
// Every rank lays out the same rows, so each knows every rank's part. Nothing here copies a byte.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "worker/model/shard_plan.h"

namespace octet::worker {

// What one row brings to the exchange, from each rank.
struct RowShare {
  bool logits = false;     // the rank's run of them
  int32_t candidates = 0;  // Candidates
  bool tiles = false;      // a TileSum for each of the rank's tiles
  int32_t best = 0;        // Candidates, by raw logit
  int32_t raw_logits = 0;  // floats
};

class ExchangeLayout {
 public:
  // For at most `rows_max` rows a step.
  ExchangeLayout(const ShardPlan& shard, int64_t rows_max);

  void Clear();
  void Add(const RowShare& share);
  // After the last row: the parts' sizes.
  void Finish();

  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  std::span<const int64_t> bytes_of_rank() const { return bytes_of_rank_; }
  int64_t total_bytes() const;
  int64_t PartBegin(int64_t rank) const { return part_begin_[rank]; }  // in what is gathered

  // Offsets in a rank's part; of a row that brings none of a kind, where it would be.
  int64_t LogitsAt(int64_t row, int64_t rank) const;
  int64_t CandidatesAt(int64_t row, int64_t rank) const;
  int64_t TilesAt(int64_t row, int64_t rank) const;
  int64_t BestAt(int64_t row, int64_t rank) const;
  int64_t RawLogitsAt(int64_t row, int64_t rank) const;

  int64_t candidates_before(int64_t row) const { return rows_[row].before.candidates; }
  const RowShare& share(int64_t row) const { return rows_[row].share; }

 private:
  // Sums over rows; logits and tiles differ from rank to rank, the rest does not.
  struct Sums {
    int64_t logits_rows = 0;
    int64_t candidates = 0;
    int64_t tile_rows = 0;
    int64_t told_bytes = 0;  // of best and raw logits
  };
  struct Row {
    RowShare share;
    Sums before;
  };
  int64_t vocab(int64_t rank) const { return vocab_bounds_[rank + 1] - vocab_bounds_[rank]; }
  int64_t ToldBegin(int64_t rank) const;
  int64_t TilesBytes(int64_t rank, int64_t rows) const;

  std::vector<int64_t> vocab_bounds_;  // [ranks + 1]
  std::vector<Row> rows_;              // reserved: rows_max
  Sums sums_;
  std::vector<int64_t> bytes_of_rank_;  // [ranks]
  std::vector<int64_t> part_begin_;     // [ranks]
};

// The most that a rank's part can be when `slots` rows are sampled and `step_rows` rows of prompts
// tell log-probabilities.
int64_t PartBytesMax(const ShardPlan& shard, int64_t rank, int64_t slots, int64_t step_rows);

}  // namespace octet::worker
