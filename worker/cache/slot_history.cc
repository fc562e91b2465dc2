#include "worker/cache/slot_history.h"

#include <algorithm>

#include "base/check.h"

namespace octet::worker {

using kernels::kEndIdsMax;
using kernels::kLogitBiasMax;

SlotHistory::SlotHistory(const SlotHistoryShape& shape, const SlotHistoryBuffers& buffers)
    : shape_(shape), buffers_(buffers), requests_(static_cast<size_t>(shape.slots)) {}

void SlotHistory::Admit(const worker::Admit& admit) {
  const Adjustments& a = admit.adjustments;
  Request& request = requests_[admit.slot];
  request = {.penalties = {.repetition_penalty = a.repetition_penalty,
                           .presence_penalty = a.presence_penalty,
                           .frequency_penalty = a.frequency_penalty},
             .prompt_tokens = admit.prompt_tokens,
             .min_tokens = a.min_tokens,
             .bias_count = static_cast<int64_t>(a.logit_bias.size()),
             .end_count = static_cast<int64_t>(a.end_ids.size())};
  std::copy(a.logit_bias.begin(), a.logit_bias.end(),
            buffers_.logit_bias + admit.slot * kLogitBiasMax);
  std::copy(a.end_ids.begin(), a.end_ids.end(), buffers_.end_ids + admit.slot * kEndIdsMax);
  const auto known = static_cast<int64_t>(admit.cached_token_ids.size());
  for (int64_t i = 0; i < known; ++i) SetToken(admit.slot, i, admit.cached_token_ids[i]);
}

void SlotHistory::TakeTokens(const int32_t* slots, const int32_t* positions, int64_t rows,
                             int32_t* tokens) {
  for (int64_t row = 0; row < rows; ++row) {
    if (tokens[row] < 0) tokens[row] = buffers_.last_tokens[slots[row]];
    SetToken(slots[row], positions[row], tokens[row]);
  }
}

void SlotHistory::SetToken(int32_t slot, int64_t position, int32_t token) {
  OCTET_CHECK(position >= 0 && position < shape_.context);
  OCTET_CHECK(token >= 0 && token < shape_.vocab);
  buffers_.history[slot * shape_.context + position] = token;
}

kernels::Adjustment SlotHistory::AdjustmentAt(int32_t slot, int64_t position) const {
  const Request& request = requests_[slot];
  const int32_t* history = buffers_.history + slot * shape_.context;
  const int64_t border = std::min(request.prompt_tokens, position);
  const bool banned = position - request.prompt_tokens < request.min_tokens;
  return {
      .banned = {buffers_.end_ids + slot * kEndIdsMax,
                 banned ? static_cast<size_t>(request.end_count) : 0},
      .bias = {buffers_.logit_bias + slot * kLogitBiasMax, static_cast<size_t>(request.bias_count)},
      .repetition_penalty = request.penalties.repetition_penalty,
      .presence_penalty = request.penalties.presence_penalty,
      .frequency_penalty = request.penalties.frequency_penalty,
      .prompt = {history, static_cast<size_t>(border)},
      .answer = {history + border, static_cast<size_t>(position - border)}};
}

}  // namespace octet::worker
