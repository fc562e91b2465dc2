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

int64_t BestBytes(const RowShare& share) { return share.best * kCandidate; }

}  // namespace

ExchangeLayout::ExchangeLayout(const ShardPlan& shard, int64_t rows_max)
    : vocab_bounds_(shard.vocab_bounds),
      bytes_of_rank_(static_cast<size_t>(shard.ranks)),
      part_begin_(static_cast<size_t>(shard.ranks)) {
  rows_.reserve(static_cast<size_t>(rows_max));
}

void ExchangeLayout::Clear() {
  rows_.clear();
  sums_ = {};
}

void ExchangeLayout::Add(const RowShare& share) {
  OCTET_CHECK_LT(rows_.size(), rows_.capacity());
  rows_.push_back({.share = share, .before = sums_});
  sums_.logits_rows += share.logits ? 1 : 0;
  sums_.candidates += share.candidates;
  sums_.tile_rows += share.tiles ? 1 : 0;
  sums_.told_bytes += BestBytes(share) + share.raw_logits * kFloat;
}

void ExchangeLayout::Finish() {
  int64_t begin = 0;
  for (size_t rank = 0; rank < bytes_of_rank_.size(); ++rank) {
    const auto r = static_cast<int64_t>(rank);
    bytes_of_rank_[rank] = ToldBegin(r) + TilesBytes(r, sums_.tile_rows) + sums_.told_bytes;
    part_begin_[rank] = begin;
    begin += bytes_of_rank_[rank];
  }
}

int64_t ExchangeLayout::total_bytes() const { return part_begin_.back() + bytes_of_rank_.back(); }

int64_t ExchangeLayout::TilesBytes(int64_t rank, int64_t rows) const {
  return rows * kernels::TileCount(vocab(rank)) * kTileSum;
}

int64_t ExchangeLayout::ToldBegin(int64_t rank) const {
  return sums_.logits_rows * vocab(rank) * kFloat + sums_.candidates * kCandidate;
}

int64_t ExchangeLayout::LogitsAt(int64_t row, int64_t rank) const {
  return rows_[row].before.logits_rows * vocab(rank) * kFloat;
}

int64_t ExchangeLayout::CandidatesAt(int64_t row, int64_t rank) const {
  return sums_.logits_rows * vocab(rank) * kFloat + candidates_before(row) * kCandidate;
}

int64_t ExchangeLayout::TilesAt(int64_t row, int64_t rank) const {
  const Sums& before = rows_[row].before;
  return ToldBegin(rank) + TilesBytes(rank, before.tile_rows) + before.told_bytes;
}

int64_t ExchangeLayout::BestAt(int64_t row, int64_t rank) const {
  return TilesAt(row, rank) + (rows_[row].share.tiles ? TilesBytes(rank, 1) : 0);
}

int64_t ExchangeLayout::RawLogitsAt(int64_t row, int64_t rank) const {
  return BestAt(row, rank) + BestBytes(rows_[row].share);
}

int64_t PartBytesMax(const ShardPlan& shard, int64_t rank, int64_t slots, int64_t step_rows) {
  const int64_t vocab = shard.vocab_bounds[rank + 1] - shard.vocab_bounds[rank];
  const int64_t told = kernels::TileCount(vocab) * kTileSum + kLogprobsMax * kCandidate;
  // A sampled row sends the raw logit of each candidate, a prompt's row that of one token.
  const int64_t sampled = told + std::max(vocab * kFloat, kCandidatesMax * (kCandidate + kFloat));
  return slots * sampled + step_rows * (told + kFloat);
}

}  // namespace octet::worker
