// A row's adjusted logits, computed where they are read: AdjustLogits (adjust.h) by the token's
// mark.
#pragma once

#include <cstdint>

#include "base/device/primitives.cuh"
#include "kernels/sampling/device/slot_state.h"

namespace octet::kernels {

class RowAdjuster {
 public:
  // Of the token at `position` of a slot.
  OCTET_DEVICE RowAdjuster(const SlotState& state, int32_t slot, int64_t position)
      : record_(&state.records[slot]),
        bias_(state.bias + int64_t{slot} * kLogitBiasMax),
        marks_(record_->has_marks != 0 ? state.marks + slot * state.shape.vocab : nullptr),
        bans_ends_(position - record_->prompt_tokens < record_->min_tokens) {}

  OCTET_DEVICE bool changes_nothing() const { return marks_ == nullptr; }
  OCTET_DEVICE float operator()(float logit, int32_t token) const {
    if (marks_ == nullptr) return logit;
    const uint32_t mark = marks_[token];
    return mark == 0 ? logit : Changed(logit, token, mark);
  }

 private:
  OCTET_DEVICE float Changed(float logit, int32_t token, uint32_t mark) const {
    if (bans_ends_ && (mark & kEndsAnswer) != 0) logit = -__builtin_inff();
    if ((mark & kHasBias) != 0) {
      for (int32_t i = FirstBias(token); i < record_->bias_count && bias_[i].token == token; ++i) {
        logit += bias_[i].bias;
      }
    }
    const uint32_t in_answer = mark / kOnceInAnswer;
    if ((mark & kInPrompt) == 0 && in_answer == 0) return logit;
    return PenalizedLogit(record_->penalties, logit, in_answer);
  }

  OCTET_DEVICE int32_t FirstBias(int32_t token) const {
    int32_t begin = 0;
    int32_t end = record_->bias_count;
    while (begin < end) {
      const int32_t middle = (begin + end) / 2;
      if (bias_[middle].token < token) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    return begin;
  }

  const SlotRecord* record_;
  const TokenBias* bias_;
  const uint32_t* marks_;  // [vocab], or null: nothing is adjusted
  bool bans_ends_;
};

}  // namespace octet::kernels
