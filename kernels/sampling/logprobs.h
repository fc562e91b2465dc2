// Log-probabilities of a row's own distribution: its raw logits at temperature 1.
//
//   logprob(token) = logit - log(sum of exp(logit) over the vocabulary)
//
// The sum is over tiles of 512 tokens: each rank gives the greatest logit and the sum of the
// exponentials relative to it for each of its tiles, and everyone merges all tiles in order, so the
// bits are the same at every TP degree. The difference is taken in double and rounded once: a
// token's value is the same float wherever it is told.
//
// NaN and -inf count for nothing and are told as kLogprobFloor, and so is every logit of a row with
// none above. Beside +inf, which is told as 0, all others are at the floor. Nothing told is below
// the floor, so everything told is finite.
//
// Tolerance: a tile's sum of exponentials is good to about 4e-6 of itself (2 ulp each, 32 float
// additions a lane), which is what it may move a value by.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/device/stream.h"
#include "kernels/sampling/sampling.h"

namespace octet::kernels {

inline constexpr int32_t kLogprobsMax = 20;  // best tokens told of one row
inline constexpr float kLogprobFloor = -9999.0f;
inline constexpr int64_t kTilesMax = kSampledVocabMax / kSamplingTile;

struct TileSum {
  float max = -__builtin_inff();  // the greatest logit; NaN is passed over
  float sum = 0;                  // of exp(logit - max); 0 where max is infinite
};

constexpr int64_t TileCount(int64_t tokens) { return (tokens + kSamplingTile - 1) / kSamplingTile; }

// What is told of one row.
struct RowLogprobs {
  float logprob = kLogprobFloor;  // of the token itself
  int32_t top_count = 0;
  std::array<int32_t, kLogprobsMax> top_tokens{};  // [top_count], best first
  std::array<float, kLogprobsMax> top_logprobs{};  // [top_count]
  bool operator==(const RowLogprobs&) const = default;
};

// What a rank finds out of one row.
struct LogprobRow {
  const float* logits = nullptr;  // [tokens]
  TileSum* tiles = nullptr;       // [TileCount(tokens)]
  int32_t best = 0;               // how many of the best logits; at most kLogprobsMax
  Candidate* top = nullptr;       // [best], best first; token -1 where there are no more
};
struct LocalLogprobsArgs {
  std::span<const LogprobRow> rows;
  int64_t tokens = 0;       // vocabulary entries held here
  int64_t token_begin = 0;  // id of the first; a multiple of kSamplingTile
};
void LocalLogprobs(const LocalLogprobsArgs& args, Stream& stream);
namespace cpu {
void LocalLogprobs(const LocalLogprobsArgs& args, Stream& stream);
}
namespace cuda {
OCTET_CUDA_OP void LocalLogprobs(const LocalLogprobsArgs& args, Stream& stream);
}  // namespace cuda

// The logarithm of the sum of exponentials of a row, from all its tiles in order.
double LogSumExp(std::span<const TileSum> tiles);
constexpr float Logprob(float logit, double log_sum_exp) {
  constexpr float kInfinity = __builtin_inff();
  if (!(logit > -kInfinity) || !(log_sum_exp > -kInfinity)) return kLogprobFloor;
  if (log_sum_exp == kInfinity) return logit == kInfinity ? 0.0f : kLogprobFloor;
  const auto value = static_cast<float>(double{logit} - log_sum_exp);
  return value > kLogprobFloor ? value : kLogprobFloor;
}
// Brings the best `best` of all ranks' candidates of one row to the front, best first, and returns
// how many are real.
int32_t MergeBest(std::span<Candidate> candidates, int32_t best);

}  // namespace octet::kernels
