// From logits to a token, the same on every rank and at every TP degree.
//
// Each rank holds the logits of its run of vocabulary. A row's route is fixed by its parameters:
//   kCandidates  greedy, pure temperature and top-k up to 256: the rank sends its best `count`
//                (score, logit, token); the merged best are enough to choose.
//   kLogits      top-p or min-p without such a top-k, larger top-k: the rank sends the row's
//   logits.
// After one exchange every rank holds the same bytes and picks the same token.
//
// Order: higher first, ties to the lowest token id. NaN and -inf are never chosen; +inf wins
// outright. Randomness: Philox4x32-10 with key = seed and counter = (position, index,
// sample_index), so a draw depends on nothing else: a token's Gumbel noise comes from word
// token % 4 at index token / 4, the one uniform of the other routes from kDrawIndex.
//
// Filters: top-k keeps the k best, sorted; top-p the shortest run of those, best first, that holds
// the share top_p of their weight; min-p those of at least min_p times the best weight.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/device/stream.h"
#include "kernels/sampling/random.h"

namespace octet::kernels {

inline constexpr int32_t kCandidatesMax = 256;

struct SamplingParams {
  float temperature = 1.0f;  // below kGreedyBelow: greedy
  int32_t top_k = 0;         // 0: off
  float top_p = 1.0f;        // (0, 1]; 1: off
  float min_p = 0.0f;        // [0, 1); 0: off
  uint64_t seed = 0;
  uint32_t sample_index = 0;  // which of a request's n samples
};

// Below this temperature a row is greedy: the quotient would lose what tells tokens apart.
inline constexpr float kGreedyBelow = 1e-5f;
constexpr bool IsGreedy(const SamplingParams& params) {
  return !(params.temperature >= kGreedyBelow);
}
constexpr bool IsPureTemperature(const SamplingParams& params) {
  return !IsGreedy(params) && params.top_k <= 0 && params.top_p >= 1.0f && params.min_p <= 0.0f;
}
// Whether the row's token is the one with the best score: greedy, or the Gumbel maximum.
constexpr bool ChoosesBestScore(const SamplingParams& params) {
  return IsGreedy(params) || IsPureTemperature(params);
}

inline constexpr uint32_t kDrawIndex = 0x80000000u;
inline constexpr int64_t kSampledVocabMax = 1 << 20;  // limit on a row's tokens
inline constexpr int64_t kSamplingTile = 512;         // tokens passed over together

enum class SamplingRoute : uint8_t { kCandidates, kLogits };
SamplingRoute RouteOf(const SamplingParams& params);
// How many candidates the row asks of each rank: 1, or top_k. 0 on the route kLogits.
int32_t CandidateCount(const SamplingParams& params);

struct Candidate {
  float score = 0;  // what is compared: the logit, or logit / temperature + Gumbel noise
  float logit = 0;
  int32_t token = -1;  // -1: none (a rank may hold fewer tokens than asked)
};

// The order of candidates: total, as tokens are distinct. Those of no token come last.
constexpr bool Better(const Candidate& a, const Candidate& b) {
  if ((a.token < 0) != (b.token < 0)) return b.token < 0;
  return a.score != b.score ? a.score > b.score : a.token < b.token;
}

// A weight in [0, 1] as an integer: what is added in any order has one sum. A row's mass is below
// 2^61, and weights below 2^-40 are never drawn.
inline constexpr float kMassOfOne = 0x1p40f;
constexpr uint64_t Mass(float weight) { return static_cast<uint64_t>(weight * kMassOfOne); }
// The mass that top-p asks for, of a total: ceil(top_p * total), from 1 to the total.
constexpr uint64_t WantedMass(float top_p, uint64_t total) {
  const double wanted = double{top_p} * static_cast<double>(total);
  auto mass = static_cast<uint64_t>(wanted);
  if (static_cast<double>(mass) < wanted) ++mass;
  if (mass > total) mass = total;
  return mass < 1 ? 1 : mass;
}
// The mass below the one that the draw of a row at `position` falls on, of a total.
constexpr uint64_t DrawnMass(const SamplingParams& params, int64_t position, uint64_t total) {
  const std::array<uint32_t, 4> words =
      Philox(params.seed, static_cast<uint64_t>(position), kDrawIndex, params.sample_index);
  return MultiplyHigh(uint64_t{words[0]} << 32 | words[1], total);
}

struct LocalCandidatesArgs {
  const float* logits = nullptr;           // [rows, tokens] f32 of this rank
  int64_t tokens = 0;                      // vocabulary entries held here
  int64_t token_begin = 0;                 // id of the first
  std::span<const SamplingParams> params;  // [rows]
  std::span<const int64_t> positions;      // [rows] of the token being drawn
  std::span<const int64_t> out_offsets;    // [rows] where the row's candidates start in `out`
  Candidate* out = nullptr;                // CandidateCount(params[r]) each, best first
};
// Rows on route kLogits are skipped.
void LocalCandidates(const LocalCandidatesArgs& args, Stream& stream);
namespace cpu {
void LocalCandidates(const LocalCandidatesArgs& args, Stream& stream);
}
namespace cuda {
OCTET_CUDA_OP void LocalCandidates(const LocalCandidatesArgs& args, Stream& stream);
}  // namespace cuda

// Chooses from all ranks' candidates of one row, in any order; -1 if none is real. `scratch` has
// room for candidates.size().
int32_t ChooseFromCandidates(const SamplingParams& params, int64_t position,
                             std::span<const Candidate> candidates, std::span<Candidate> scratch);
// Chooses from a whole row of logits; -1 if none can be chosen. `scratch` has room for
// logits.size(). Where kCandidates applies too, it gives that route's token.
int32_t ChooseFromLogits(const SamplingParams& params, int64_t position,
                         std::span<const float> logits, std::span<Candidate> scratch);

}  // namespace octet::kernels
