#include "kernels/sampling/logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/dispatch.h"
#include "kernels/sampling/sampling_row.h"

namespace octet::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

void LocalLogprobs(const LocalLogprobsArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.tokens, 0);
  OCTET_CHECK_LE(args.tokens, kSampledVocabMax);
  OCTET_CHECK(args.tokens == 0 || args.token_begin % kSamplingTile == 0);
  for (const LogprobRow& row : args.rows) {
    OCTET_CHECK(row.best >= 0 && row.best <= kLogprobsMax);
  }
  if (args.rows.empty()) return;
  Dispatch(cpu::LocalLogprobs, cuda::LocalLogprobs, args, stream);
}

double LogSumExp(std::span<const TileSum> tiles) {
  float max = -kInfinity;
  for (const TileSum& tile : tiles) max = std::max(max, tile.max);
  if (std::isinf(max)) return max;
  double total = 0;
  for (const TileSum& tile : tiles) {
    total += double{tile.sum} * ExactExp(double{tile.max} - double{max});
  }
  return double{max} + ExactLog(total);
}

int32_t MergeBest(std::span<Candidate> candidates, int32_t best) {
  const int64_t held = std::min<int64_t>(best, static_cast<int64_t>(candidates.size()));
  const auto middle = candidates.begin() + held;
  std::partial_sort(candidates.begin(), middle, candidates.end(), Better);
  const auto end =
      std::find_if(candidates.begin(), middle, [](const Candidate& c) { return c.token < 0; });
  return static_cast<int32_t>(end - candidates.begin());
}

}  // namespace octet::kernels
