// What a request changes of its logits before a token is chosen, in this order:
//   banned              the logit becomes -inf
//   bias                is added
//   repetition penalty  p of every token of prompt and answer: logit > 0 ? logit / p : logit * p
//   frequency penalty   times the token's count in the answer is subtracted
//   presence penalty    of every token of the answer is subtracted
// A token's new logit depends on its old one and on the sequence alone, so neither the cut of the
// vocabulary nor the rows beside it matter. Tokens that the run of vocabulary does not hold are
// passed over, whatever their id.
//
// A row costs its history twice, not the vocabulary: tokens are counted in a dense array that is
// zero before and after.
#pragma once

#include <cstdint>
#include <span>

#include "base/device/stream.h"

namespace octet::kernels {

// Limits on what one request may name.
inline constexpr int32_t kLogitBiasMax = 512;
inline constexpr int32_t kEndIdsMax = 512;

struct TokenBias {
  int32_t token = 0;
  float bias = 0;
  bool operator==(const TokenBias&) const = default;
};

struct Penalties {
  float repetition_penalty = 1.0f;  // above 0; 1: off
  float presence_penalty = 0.0f;    // 0: off
  float frequency_penalty = 0.0f;   // 0: off
};
// The logit of a token that stands in the prompt or `in_answer` times in the answer.
constexpr float PenalizedLogit(const Penalties& p, float logit, uint32_t in_answer) {
  if (p.repetition_penalty != 1.0f) {
    logit = logit > 0 ? logit / p.repetition_penalty : logit * p.repetition_penalty;
  }
  if (in_answer == 0) return logit;
  logit = logit - static_cast<float>(in_answer) * p.frequency_penalty;
  return logit - p.presence_penalty;
}

struct Adjustment {
  std::span<const int32_t> banned;
  std::span<const TokenBias> bias;
  float repetition_penalty = 1.0f;  // above 0; 1: off
  float presence_penalty = 0.0f;    // 0: off
  float frequency_penalty = 0.0f;   // 0: off
  std::span<const int32_t> prompt;  // the sequence's tokens; read for the repetition penalty only
  std::span<const int32_t> answer;  // those after the prompt; read for any penalty

  Penalties penalties() const { return {repetition_penalty, presence_penalty, frequency_penalty}; }
  bool reads_prompt() const { return repetition_penalty != 1.0f; }
  bool penalizes() const {
    return reads_prompt() || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
  bool changes_nothing() const { return banned.empty() && bias.empty() && !penalizes(); }
};

// A run of one row's vocabulary.
struct LogitsRun {
  float* logits = nullptr;  // [tokens]
  int64_t tokens = 0;
  int64_t token_begin = 0;  // id of the first
};

// The floats that undo an adjustment: one for each entry of its lists.
int64_t SavedLogitCount(const Adjustment& adjustment);

// Changes `run` in place. `counts` [run.tokens] is zero before and after. `saved` may be null, else
// has room for SavedLogitCount and is what RestoreLogits undoes the change by, bit for bit.
// On the caller's thread. REQUIRES: repetition_penalty > 0.
void AdjustLogits(const Adjustment& adjustment, const LogitsRun& run, uint32_t* counts,
                  float* saved);
void RestoreLogits(const Adjustment& adjustment, const LogitsRun& run, const float* saved);

struct AdjustRowsArgs {
  float* logits = nullptr;  // [rows, tokens] of this rank
  int64_t tokens = 0;
  int64_t token_begin = 0;
  std::span<const Adjustment> adjustments;  // [rows]
  std::span<float* const> saved;            // [rows], each as in AdjustLogits
  uint32_t* counts = nullptr;               // [count_arrays, tokens], zero before and after
  int64_t count_arrays = 0;                 // rows that are adjusted at once, at most
};
// Rows are dealt to the threads; those that change nothing cost nothing.
void AdjustRows(const AdjustRowsArgs& args, Stream& stream);
namespace cpu {
void AdjustRows(const AdjustRowsArgs& args, Stream& stream);
}
namespace cuda {
OCTET_CUDA_OP void AdjustRows(const AdjustRowsArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::kernels
