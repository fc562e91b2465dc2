// What the exchange brought of each row, whole: the ranks' parts put side by side again. A view of
// the gathered bytes; any thread may read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/sampling/sampling.h"
#include "worker/engine/exchange_layout.h"
#include "worker/engine/step_plan.h"

namespace octet::worker {

class GatheredRows {
 public:
  // All outlive this. `gather` holds layout->total_bytes().
  GatheredRows(const ShardPlan* shard, const ExchangeLayout* layout, const std::byte* gather)
      : shard_(shard), layout_(layout), gather_(gather) {}

  // out[vocab]. REQUIRES: the row brought logits.
  void CopyLogits(int64_t row, float* out) const;
  // All ranks' candidates into `out`; returns how many.
  int64_t CopyCandidates(int64_t row, kernels::Candidate* out) const;

  // The raw logit of the token chosen for a row that tells log-probabilities; NaN for token -1.
  float ChosenLogit(int64_t row, int32_t token) const;
  // The one raw logit that each rank sent, of the rank that holds the token.
  float TargetLogit(int64_t row, int32_t token) const;
  // The row's log-probabilities: of a token of this raw logit, and of the best.
  RowLogprobs Tell(int64_t row, float raw_logit) const;

 private:
  const std::byte* Part(int64_t rank) const { return gather_ + layout_->PartBegin(rank); }
  int64_t RankOf(int32_t token) const;

  const ShardPlan* shard_;
  const ExchangeLayout* layout_;
  const std::byte* gather_;
};

}  // namespace octet::worker
