#include "worker/engine/exchange_layout.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/sampling/logprobs.h"
#include "kernels/sampling/sampling.h"

namespace octet::worker {
namespace {

using kernels::kCandidatesMax;
using kernels::kLogprobsMax;

constexpr int64_t kFloat = sizeof(float);
constexpr int64_t kCandidate = sizeof(kernels::Candidate);
constexpr int64_t kTileSum = sizeof(kernels::TileSum);
static_assert(alignof(kernels::Candidate) == kFloat && alignof(kernels::TileSum) == kFloat);

}  // namespace

ExchangeLayout::ExchangeLayout(const ShardPlan& shard, int64_t rows_max)
    : vocab_bounds_(shard.vocab_bounds),
      bytes_of_rank_(static_cast<size_t>(shard.ranks)),
      part_begin_(static_cast<size_t>(shard.ranks)) {
  rows_.reserve(static_cast<size_t>(rows_max));
}

void ExchangeLayout::Clear() {
  rows_.clear();
  totals_ = {};
}

void ExchangeLayout::Add(const RowShare& share) {
  OCTET_CHECK_LT(rows_.size(), rows_.capacity());
  rows_.push_back({.share = share, .before = totals_});
  totals_.Add(share);
}

void ExchangeLayout::Finish() {
  int64_t begin = 0;
  for (size_t rank = 0; rank < bytes_of_rank_.size(); ++rank) {
    bytes_of_rank_[rank] = Part(static_cast<int64_t>(rank)).bytes();
    part_begin_[rank] = begin;
    begin += bytes_of_rank_[rank];
  }
}

int64_t ExchangeLayout::total_bytes() const { return part_begin_.back() + bytes_of_rank_.back(); }

int64_t ExchangeLayout::LogitsAt(int64_t row, int64_t rank) const {
  return Part(rank).LogitsAt(rows_[row].before);
}

int64_t ExchangeLayout::CandidatesAt(int64_t row, int64_t rank) const {
  return Part(rank).CandidatesAt(rows_[row].before);
}

int64_t ExchangeLayout::TilesAt(int64_t row, int64_t rank) const {
  return Part(rank).TilesAt(rows_[row].before);
}

int64_t ExchangeLayout::BestAt(int64_t row, int64_t rank) const {
  return Part(rank).BestAt(rows_[row].before, rows_[row].share);
}

int64_t ExchangeLayout::RawLogitsAt(int64_t row, int64_t rank) const {
  return Part(rank).RawLogitsAt(rows_[row].before, rows_[row].share);
}

int64_t PartBytesMax(const ShardPlan& shard, int64_t rank, int64_t slots, int64_t step_rows) {
  const int64_t vocab = shard.vocab_bounds[rank + 1] - shard.vocab_bounds[rank];
  const int64_t told = kernels::TileCount(vocab) * kTileSum + kLogprobsMax * kCandidate;
  // A sampled row sends the raw logit of each candidate, a prompt's row that of one token.
  const int64_t sampled = told + std::max(vocab * kFloat, kCandidatesMax * (kCandidate + kFloat));
  return slots * sampled + step_rows * (told + kFloat);
}

}  // namespace octet::worker
