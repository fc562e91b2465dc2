#include "worker/engine/gathered_rows.h"

#include <array>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "kernels/sampling/logprobs.h"

namespace octet::worker {

using kernels::Candidate;
using kernels::TileSum;

namespace {

constexpr int64_t kFloat = sizeof(float);

float ReadFloat(const std::byte* from) {
  float value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

}  // namespace

void GatheredRows::CopyLogits(int64_t row, float* out) const {
  for (int64_t rank = 0; rank < shard_->ranks; ++rank) {
    const int64_t begin = shard_->vocab_bounds[rank];
    std::memcpy(out + begin, Part(rank) + layout_->LogitsAt(row, rank),
                (shard_->vocab_bounds[rank + 1] - begin) * kFloat);
  }
}

int64_t GatheredRows::CopyCandidates(int64_t row, Candidate* out) const {
  const int64_t count = layout_->share(row).candidates;
  for (int64_t rank = 0; rank < shard_->ranks; ++rank) {
    std::memcpy(out + rank * count, Part(rank) + layout_->CandidatesAt(row, rank),
                count * sizeof(Candidate));
  }
  return shard_->ranks * count;
}

int64_t GatheredRows::RankOf(int32_t token) const {
  int64_t rank = 0;
  while (token >= shard_->vocab_bounds[rank + 1]) ++rank;
  return rank;
}

float GatheredRows::ChosenLogit(int64_t row, int32_t token) const {
  if (token < 0) return std::numeric_limits<float>::quiet_NaN();
  const int64_t rank = RankOf(token);
  const std::byte* part = Part(rank);
  if (layout_->share(row).logits) {
    const int64_t place = token - shard_->vocab_bounds[rank];
    return ReadFloat(part + layout_->LogitsAt(row, rank) + place * kFloat);
  }
  const int64_t count = layout_->share(row).candidates;
  for (int64_t i = 0; i < count; ++i) {
    Candidate candidate;
    std::memcpy(&candidate,
                part + layout_->CandidatesAt(row, rank) + i * int64_t{sizeof(Candidate)},
                sizeof(Candidate));
    if (candidate.token == token) {
      return ReadFloat(part + layout_->RawLogitsAt(row, rank) + i * kFloat);
    }
  }
  CheckFailed(__FILE__, __LINE__, "the chosen token is no candidate of its rank");
}

float GatheredRows::TargetLogit(int64_t row, int32_t token) const {
  const int64_t rank = RankOf(token);
  return ReadFloat(Part(rank) + layout_->RawLogitsAt(row, rank));
}

RowLogprobs GatheredRows::Tell(int64_t row, float raw_logit) const {
  std::array<TileSum, kernels::kTilesMax + kRanksMax> tiles;
  std::array<Candidate, kRanksMax * kernels::kLogprobsMax> best;
  const int32_t wanted = layout_->share(row).best;
  size_t tile_count = 0;
  for (int64_t rank = 0; rank < shard_->ranks; ++rank) {
    const int64_t vocab = shard_->vocab_bounds[rank + 1] - shard_->vocab_bounds[rank];
    const auto held = static_cast<size_t>(kernels::TileCount(vocab));
    OCTET_CHECK_LE(tile_count + held, tiles.size());
    std::memcpy(tiles.data() + tile_count, Part(rank) + layout_->TilesAt(row, rank),
                held * sizeof(TileSum));
    tile_count += held;
    std::memcpy(best.data() + rank * wanted, Part(rank) + layout_->BestAt(row, rank),
                wanted * sizeof(Candidate));
  }
  const double log_sum_exp = kernels::LogSumExp({tiles.data(), tile_count});
  RowLogprobs told;
  told.logprob = kernels::Logprob(raw_logit, log_sum_exp);
  told.top_count =
      kernels::MergeBest({best.data(), static_cast<size_t>(shard_->ranks * wanted)}, wanted);
  for (int32_t i = 0; i < told.top_count; ++i) {
    told.top_tokens[i] = best[i].token;
    told.top_logprobs[i] = kernels::Logprob(best[i].logit, log_sum_exp);
  }
  return told;
}

}  // namespace octet::worker
