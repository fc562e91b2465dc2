// What a slot's next token is drawn by, kept by the host: every token of the sequence, the last one
// drawn, and what the request changes of its logits. The CPU samples by it; a device keeps its own
// (kernels/sampling/device). What grows with the context or with a request lies in planned buffers.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/sampling/adjust.h"
#include "worker/engine/step_plan.h"

namespace octet::worker {

struct SlotHistoryShape {
  int64_t slots = 0;
  int64_t context = 0;  // tokens a sequence may have
  int64_t vocab = 0;
};

struct SlotHistoryBuffers {
  int32_t* last_tokens = nullptr;            // [slots]
  int32_t* history = nullptr;                // [slots, context] token ids
  kernels::TokenBias* logit_bias = nullptr;  // [slots, kLogitBiasMax]
  int32_t* end_ids = nullptr;                // [slots, kEndIdsMax]
};

class SlotHistory {
 public:
  SlotHistory(const SlotHistoryShape& shape, const SlotHistoryBuffers& buffers);

  void Admit(const Admit& admit);
  // The input tokens of a step's rows, which become the slots' tokens at their positions: those
  // given, and for -1 the last one drawn. [rows] each
  void TakeTokens(const int32_t* slots, const int32_t* positions, int64_t rows, int32_t* tokens);
  void SetDrawn(int32_t slot, int32_t token) { buffers_.last_tokens[slot] = token; }

  // What changes the logits that the token at `position` is drawn from. REQUIRES: the tokens before
  // it are known when it is used. Valid until the slot is admitted anew.
  kernels::Adjustment AdjustmentAt(int32_t slot, int64_t position) const;

 private:
  struct Request {
    kernels::Penalties penalties;
    int64_t prompt_tokens = 0;
    int64_t min_tokens = 0;
    int64_t bias_count = 0;
    int64_t end_count = 0;
  };
  void SetToken(int32_t slot, int64_t position, int32_t token);

  SlotHistoryShape shape_;
  SlotHistoryBuffers buffers_;
  std::vector<Request> requests_;  // [slots]
};

}  // namespace octet::worker
