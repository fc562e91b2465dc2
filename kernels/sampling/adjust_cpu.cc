// Adjustments on the CPU. A count holds the token's places in the answer times two, plus one if the
// prompt has it; whoever meets a token first applies its penalties and clears the count.
#include <algorithm>
#include <limits>

#include "kernels/sampling/adjust.h"

namespace octet::kernels {
namespace {

constexpr uint32_t kInPrompt = 1;
constexpr uint32_t kOnceInAnswer = 2;

// The place of a token in the run, or -1.
int64_t PlaceOf(const LogitsRun& run, int32_t token) {
  const int64_t place = token - run.token_begin;
  return place >= 0 && place < run.tokens ? place : -1;
}

// Calls visit(place) for each entry of the adjustment's lists, in the order they are applied; -1
// for a token that the run does not hold.
template <typename Ban, typename Bias, typename History>
void EachEntry(const Adjustment& a, const LogitsRun& run, const Ban& ban, const Bias& bias,
               const History& history) {
  for (const int32_t token : a.banned) ban(PlaceOf(run, token));
  for (const TokenBias& entry : a.bias) bias(PlaceOf(run, entry.token), entry.bias);
  if (a.reads_prompt()) {
    for (const int32_t token : a.prompt) history(PlaceOf(run, token));
  }
  if (a.penalizes()) {
    for (const int32_t token : a.answer) history(PlaceOf(run, token));
  }
}

void Count(const Adjustment& a, const LogitsRun& run, uint32_t* counts) {
  if (a.reads_prompt()) {
    for (const int32_t token : a.prompt) {
      const int64_t place = PlaceOf(run, token);
      if (place >= 0) counts[place] |= kInPrompt;
    }
  }
  for (const int32_t token : a.answer) {
    const int64_t place = PlaceOf(run, token);
    if (place >= 0) counts[place] += kOnceInAnswer;
  }
}

}  // namespace

void AdjustLogits(const Adjustment& a, const LogitsRun& run, uint32_t* counts, float* saved) {
  if (a.penalizes()) Count(a, run, counts);
  int64_t entry = 0;
  const auto save = [&](int64_t place) {
    if (saved != nullptr && place >= 0) saved[entry] = run.logits[place];
    ++entry;
    return place >= 0;
  };
  EachEntry(
      a, run,
      [&](int64_t place) {
        if (save(place)) run.logits[place] = -std::numeric_limits<float>::infinity();
      },
      [&](int64_t place, float bias) {
        if (save(place)) run.logits[place] += bias;
      },
      [&](int64_t place) {
        if (!save(place) || counts[place] == 0) return;
        run.logits[place] =
            PenalizedLogit(a.penalties(), run.logits[place], counts[place] / kOnceInAnswer);
        counts[place] = 0;
      });
}

void RestoreLogits(const Adjustment& a, const LogitsRun& run, const float* saved) {
  // From the last entry to the first: the first to touch a token saved its raw logit.
  int64_t entry = SavedLogitCount(a);
  const auto undo = [&](int32_t token) {
    --entry;
    const int64_t place = PlaceOf(run, token);
    if (place >= 0) run.logits[place] = saved[entry];
  };
  if (a.penalizes()) {
    for (size_t i = a.answer.size(); i-- > 0;) undo(a.answer[i]);
  }
  if (a.reads_prompt()) {
    for (size_t i = a.prompt.size(); i-- > 0;) undo(a.prompt[i]);
  }
  for (size_t i = a.bias.size(); i-- > 0;) undo(a.bias[i].token);
  for (size_t i = a.banned.size(); i-- > 0;) undo(a.banned[i]);
}

namespace cpu {

void AdjustRows(const AdjustRowsArgs& args, Stream& stream) {
  const auto rows = static_cast<int64_t>(args.adjustments.size());
  const int64_t runs = std::min(args.count_arrays, rows);
  stream.pool().ParallelFor(runs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run) {
      for (int64_t row = run; row < rows; row += runs) {
        if (args.adjustments[row].changes_nothing()) continue;
        AdjustLogits(args.adjustments[row],
                     {args.logits + row * args.tokens, args.tokens, args.token_begin},
                     args.counts + run * args.tokens, args.saved[row]);
      }
    }
  });
}

}  // namespace cpu
}  // namespace octet::kernels
