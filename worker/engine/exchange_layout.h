// Where each row's bytes lie in the one exchange after the head (kernels/sampling/exchange_part.h
// says in which order). Every rank lays out the same rows, so each knows every rank's part; where
// nothing tells log-probabilities the part is the logits and candidates alone. Nothing here copies
// a byte.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/sampling/exchange_part.h"
#include "worker/model/shard_plan.h"

namespace octet::worker {

using kernels::RowShare;

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
  const kernels::ExchangeSums& before(int64_t row) const { return rows_[row].before; }
  const kernels::ExchangeSums& totals() const { return totals_; }

 private:
  struct Row {
    RowShare share;
    kernels::ExchangeSums before;
  };
  kernels::ExchangePart Part(int64_t rank) const {
    return {totals_, vocab_bounds_[rank + 1] - vocab_bounds_[rank]};
  }

  std::vector<int64_t> vocab_bounds_;  // [ranks + 1]
  std::vector<Row> rows_;              // reserved: rows_max
  kernels::ExchangeSums totals_;
  std::vector<int64_t> bytes_of_rank_;  // [ranks]
  std::vector<int64_t> part_begin_;     // [ranks]
};

// The most that a rank's part can be when `slots` rows are sampled and `step_rows` rows of prompts
// tell log-probabilities.
int64_t PartBytesMax(const ShardPlan& shard, int64_t rank, int64_t slots, int64_t step_rows);

}  // namespace octet::worker
