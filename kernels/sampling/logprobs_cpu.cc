// A rank's tile sums and best logits. Tiles are handed to threads, then rows: a tile's sum is one
// thread's, in the order of its lanes, so the cut changes no result.
#include <algorithm>
#include <array>

#include "kernels/sampling/logprobs.h"
#include "kernels/sampling/sampling_row.h"

namespace octet::kernels::cpu {
namespace {

constexpr int64_t kGrainTiles = 8;

void SumTile(const LogprobRow& row, int64_t tokens, int64_t tile) {
  const int64_t begin = tile * kSamplingTile;
  const int64_t count = std::min(kSamplingTile, tokens - begin);
  const SamplingBody& body = ActiveSampling();
  TileSum& out = row.tiles[tile];
  out.max = body.max_of(row.logits + begin, count);
  out.sum = body.sum_exp(row.logits + begin, count, out.max);
}

}  // namespace

void LocalLogprobs(const LocalLogprobsArgs& args, Stream& stream) {
  const auto rows = static_cast<int64_t>(args.rows.size());
  const int64_t tiles = TileCount(args.tokens);
  stream.pool().ParallelFor(rows * tiles, kGrainTiles, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) SumTile(args.rows[i / tiles], args.tokens, i % tiles);
  });
  stream.pool().ParallelFor(rows, 1, [&](int64_t begin, int64_t end) {
    std::array<float, kSpansMax> maxima;
    for (int64_t i = begin; i < end; ++i) {
      const LogprobRow& row = args.rows[i];
      if (row.best == 0) continue;
      const RowLogits logits = {row.logits, args.tokens, args.token_begin};
      const int64_t spans = SpanCount(logits);
      SpanMaxima(logits, 0, spans, maxima.data());
      SelectBest(logits, {maxima.data(), static_cast<size_t>(spans)}, row.best, row.top);
    }
  });
}

}  // namespace octet::kernels::cpu
