// The candidates of this rank. Rows are handed to threads; where there are fewer rows than threads,
// each row's vocabulary is cut into runs of tiles instead. Candidates are ordered totally, so the
// cut changes no result.
#include <algorithm>
#include <array>

#include "kernels/sampling/sampling.h"
#include "kernels/sampling/sampling_row.h"

namespace octet::kernels::cpu {
namespace {

constexpr int64_t kRunsMax = 64;  // of a row that several threads share

RowLogits RowOf(const LocalCandidatesArgs& args, int64_t row) {
  return {args.logits + row * args.tokens, args.tokens, args.token_begin};
}

void WholeRow(const LocalCandidatesArgs& args, int64_t index) {
  const SamplingParams& params = args.params[index];
  const int32_t count = CandidateCount(params);
  if (count == 0) return;
  const RowLogits row = RowOf(args, index);
  Candidate* out = args.out + args.out_offsets[index];
  if (ChoosesBestScore(params)) {
    *out = BestScore(row, params, args.positions[index]);
    return;
  }
  std::array<float, kSpansMax> maxima;
  const int64_t spans = SpanCount(row);
  SpanMaxima(row, 0, spans, maxima.data());
  SelectBest(row, {maxima.data(), static_cast<size_t>(spans)}, count, out);
}

// The runs of one row over all threads.
void SharedRow(const LocalCandidatesArgs& args, int64_t index, ThreadPool& pool) {
  const SamplingParams& params = args.params[index];
  const int32_t count = CandidateCount(params);
  if (count == 0) return;
  const RowLogits row = RowOf(args, index);
  Candidate* out = args.out + args.out_offsets[index];
  // A few runs a thread, of whole tiles.
  const int64_t tiles = (row.tokens + kSamplingTile - 1) / kSamplingTile;
  const int64_t runs = std::min({kRunsMax, tiles, int64_t{4} * pool.threads()});
  const auto bound = [&](int64_t run) {
    return std::min(row.tokens, tiles * run / std::max<int64_t>(runs, 1) * kSamplingTile);
  };
  if (ChoosesBestScore(params)) {
    std::array<Candidate, kRunsMax> best;
    pool.ParallelFor(runs, 1, [&](int64_t begin, int64_t end) {
      for (int64_t run = begin; run < end; ++run) {
        const int64_t first = bound(run);
        best[run] = BestScore({row.logits + first, bound(run + 1) - first, row.token_begin + first},
                              params, args.positions[index]);
      }
    });
    *out = runs == 0 ? Candidate{} : *std::min_element(best.begin(), best.begin() + runs, Better);
    return;
  }
  std::array<float, kSpansMax> maxima;
  pool.ParallelFor(runs, 1, [&](int64_t begin, int64_t end) {
    const int64_t last = (bound(end) + kSpanTokens - 1) / kSpanTokens;
    SpanMaxima(row, bound(begin) / kSpanTokens, last, maxima.data());
  });
  SelectBest(row, {maxima.data(), static_cast<size_t>(SpanCount(row))}, count, out);
}

}  // namespace

void LocalCandidates(const LocalCandidatesArgs& args, Stream& stream) {
  const auto rows = static_cast<int64_t>(args.params.size());
  ThreadPool& pool = stream.pool();
  if (rows < pool.threads()) {
    for (int64_t row = 0; row < rows; ++row) SharedRow(args, row, pool);
    return;
  }
  pool.ParallelFor(rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) WholeRow(args, row);
  });
}

}  // namespace octet::kernels::cpu
