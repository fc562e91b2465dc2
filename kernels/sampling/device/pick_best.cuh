// Second kernel of OfferRows: a block takes what the runs of a row left and writes the row's
// candidates (blockIdx.y 0), or its best raw logits and the raw logit of a prompt's token (1).
#pragma once

#include <cstdint>

#include "base/device/primitives.cuh"
#include "kernels/sampling/device/adjusted_logit.cuh"
#include "kernels/sampling/device/best_score.cuh"
#include "kernels/sampling/device/candidate_key.cuh"
#include "kernels/sampling/device/offer_rows.h"
#include "kernels/sampling/device/ordered_select.cuh"
#include "kernels/sampling/device/row_workspace.h"

namespace octet::kernels::cuda {

inline constexpr int kPickThreads = 256;
static_assert(kPickThreads >= kCandidatesMax && kPickThreads >= kLogprobsMax);
static_assert(kPickThreads == kRunThreads);

struct PickShared {
  SelectShared select;
  uint64_t warps[kPickThreads / 32];
  uint64_t keys[kCandidatesMax];
  unsigned int key_count;
  BestScoreShared best_score;
};

// The maxima as elements; a span stands for its token.
struct SpanSource {
  const float* maxima;  // [spans]
  int64_t spans;

  template <typename Visit>
  OCTET_DEVICE void Each(const Visit& visit) const {
    for (int64_t span = threadIdx.x; span < spans; span += kPickThreads) {
      if (maxima[span] > kNoLogit) visit(maxima[span], static_cast<int32_t>(span));
    }
  }
};

// The logits of spans whose maximum reaches the threshold. A warp reads 32 maxima, then together
// the spans among them that do.
template <typename Adjust>
struct TopSource {
  const float* maxima;  // [spans]
  int64_t spans;
  float threshold;
  const float* logits;  // [held] raw
  int64_t held;
  int32_t first_token;
  const Adjust* adjust;

  template <typename Visit>
  OCTET_DEVICE void Each(const Visit& visit) const {
    const int lane = threadIdx.x % 32;
    for (int64_t first = threadIdx.x / 32 * 32; first < spans; first += kPickThreads) {
      const bool reaches = first + lane < spans && maxima[first + lane] > kNoLogit &&
                           maxima[first + lane] >= threshold;
      uint32_t left = __ballot_sync(0xffffffffu, reaches);
      while (left != 0) {
        const int span = __ffs(static_cast<int>(left)) - 1;
        left &= left - 1;
        VisitSpan((first + span) * kSpanOfMaximum, visit);
      }
    }
  }

  template <typename Visit>
  OCTET_DEVICE void VisitSpan(int64_t begin, const Visit& visit) const {
    for (int64_t i = begin + threadIdx.x % 32; i < begin + kSpanOfMaximum; i += 32) {
      if (i >= held) continue;
      const int32_t token = first_token + static_cast<int32_t>(i);
      const float logit = (*adjust)(logits[i], token);
      if (logit > kNoLogit && logit >= threshold) visit(logit, token);
    }
  }
};

// Of any element.
struct CountOne {
  OCTET_DEVICE uint64_t operator()(float, int32_t) const { return 1; }
};

// The greatest key first. One key a thread, 0 beyond them; the number of keys is a power of two.
OCTET_DEVICE void SortKeys(uint64_t* keys) {
  for (int run = 2; run <= kCandidatesMax; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      const int i = static_cast<int>(threadIdx.x);
      const int other = i ^ step;
      if (other > i && other < kCandidatesMax) {
        const bool descends = (i & run) == 0;
        const uint64_t a = keys[i];
        const uint64_t b = keys[other];
        if ((a < b) == descends) {
          keys[i] = b;
          keys[other] = a;
        }
      }
      __syncthreads();
    }
  }
}

// The best `count` of a row's logits by their keys into shared.keys, sorted, 0 where there are no
// more. A logit below the count-th of the spans' maxima is not among them.
template <typename Adjust>
OCTET_DEVICE void SelectBestKeys(PickShared& shared, const float* maxima, int64_t spans,
                                 const float* logits, int64_t held, int32_t first_token,
                                 const Adjust& adjust, int32_t count) {
  const SpanSource of_spans{maxima, spans};
  uint64_t best = 0;
  of_spans.Each([&](float logit, int32_t span) {
    const uint64_t key = CandidateKey(logit, span);
    best = key > best ? key : best;
  });
  best = BlockMax<kPickThreads>(best, shared.warps);
  shared.keys[threadIdx.x] = 0;
  if (threadIdx.x == 0) shared.key_count = 0;
  __syncthreads();
  if (best == 0) return;

  const PlaceCoder coder(ScoreOf(best), 1.0f);
  const auto last_wanted = [&](uint64_t) { return static_cast<uint64_t>(count) - 1; };
  const uint64_t border =
      SelectByMass<kPickThreads>(shared.select, of_spans, coder, CountOne(), last_wanted);
  const TopSource<Adjust> top{
      maxima, spans, border == 0 ? kNoLogit : ScoreOf(border), logits, held, first_token, &adjust};
  const uint64_t worst =
      SelectByMass<kPickThreads>(shared.select, top, coder, CountOne(), last_wanted);
  top.Each([&](float logit, int32_t token) {
    const uint64_t key = CandidateKey(logit, token);
    if (key >= worst) shared.keys[atomicAdd(&shared.key_count, 1u)] = key;
  });
  __syncthreads();
  SortKeys(shared.keys);
}

struct RawLogit {
  OCTET_DEVICE float operator()(float logit, int32_t) const { return logit; }
};

OCTET_DEVICE Candidate CandidateOf(uint64_t key, float logit) {
  return key == 0 ? Candidate{} : Candidate{ScoreOf(key), logit, TokenOf(key)};
}

OCTET_DEVICE void PickCandidates(PickShared& shared, const OfferRowsArgs& args,
                                 const SamplingRow& row, int64_t index) {
  const int64_t held = args.cut.held();
  const ExchangePart part(args.step->totals, held);
  const RowWorkspace workspace(args.workspace, held);
  auto* const out = reinterpret_cast<Candidate*>(args.send + part.CandidatesAt(row.before));
  const float* const logits = args.logits + row.logits_row * held;
  const RowAdjuster adjust(args.state, row.slot, row.position);
  const SamplingParams params = args.state.records[row.slot].sampling;
  const auto thread = static_cast<int32_t>(threadIdx.x);
  uint64_t key = 0;
  if (IsPureTemperature(params)) {
    const auto* bounds =
        reinterpret_cast<const RunBound*>(args.workspace + workspace.KeysAt(index));
    key = BestScoreOfRow(shared.best_score, bounds, workspace.runs,
                         {logits, held, args.cut.begin()}, adjust, params, row.position);
  } else if (IsGreedy(params)) {
    const auto* keys = reinterpret_cast<const uint64_t*>(args.workspace + workspace.KeysAt(index));
    for (int64_t run = thread; run < workspace.runs; run += kPickThreads) {
      key = keys[run] > key ? keys[run] : key;
    }
    key = BlockMax<kPickThreads>(key, shared.warps);
  } else {
    const auto* maxima =
        reinterpret_cast<const float*>(args.workspace + workspace.AdjustedAt(index));
    SelectBestKeys(shared, maxima, workspace.spans, logits, held, args.cut.begin(), adjust,
                   row.share.candidates);
    key = shared.keys[thread];
  }
  if (thread >= row.share.candidates) return;
  const int32_t token = TokenOf(key);
  const float raw = token < 0 ? 0.0f : logits[token - args.cut.begin()];
  out[thread] = CandidateOf(key, token < 0 ? 0.0f : adjust(raw, token));
  if (!row.share.tiles) return;
  reinterpret_cast<float*>(args.send + part.RawLogitsAt(row.before, row.share))[thread] = raw;
}

OCTET_DEVICE void PickTold(PickShared& shared, const OfferRowsArgs& args, const SamplingRow& row,
                           int64_t index) {
  const int64_t held = args.cut.held();
  const ExchangePart part(args.step->totals, held);
  const RowWorkspace workspace(args.workspace, held);
  const float* const logits = args.logits + row.logits_row * held;
  const auto thread = static_cast<int32_t>(threadIdx.x);
  if (row.share.best > 0) {
    const auto* maxima = reinterpret_cast<const float*>(args.workspace + workspace.RawAt(index));
    SelectBestKeys(shared, maxima, workspace.spans, logits, held, args.cut.begin(), RawLogit(),
                   row.share.best);
    auto* const out = reinterpret_cast<Candidate*>(args.send + part.BestAt(row.before, row.share));
    if (thread < row.share.best) {
      out[thread] = CandidateOf(shared.keys[thread], ScoreOf(shared.keys[thread]));
    }
  }
  if (row.next_token < 0 || thread != 0) return;
  const int64_t place = row.next_token - int64_t{args.cut.begin()};
  *reinterpret_cast<float*>(args.send + part.RawLogitsAt(row.before, row.share)) =
      place >= 0 && place < held ? logits[place] : 0.0f;
}

// grid (rows, 2).
__global__ void __launch_bounds__(kPickThreads, 1) PickBest(OfferRowsArgs args) {
  OCTET_SHARED(PickShared, shared);
  const int64_t index = blockIdx.x;
  const SamplingRow& row = args.rows[index];
  if (blockIdx.y == 1) {
    if (row.slot >= 0 && row.share.tiles) PickTold(shared, args, row, index);
    return;
  }
  if (row.share.candidates == 0) return;
  if (row.slot >= 0) {
    PickCandidates(shared, args, row, index);
    return;
  }
  const ExchangePart part(args.step->totals, args.cut.held());
  auto* const out = reinterpret_cast<Candidate*>(args.send + part.CandidatesAt(row.before));
  if (static_cast<int32_t>(threadIdx.x) < row.share.candidates) out[threadIdx.x] = Candidate{};
}

}  // namespace octet::kernels::cuda
