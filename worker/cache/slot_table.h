// The sequences a rank is working on: for each slot its blocks, its tokens, and how it is sampled.
// All ranks hold the same table, because they apply the same plans; the scheduler in the
// coordinator decides, this only remembers. A block may be in the tables of several slots: nothing
// here owns one. What grows with the context or with a request lies in planned buffers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/sampling/adjust.h"
#include "kernels/sampling/sampling.h"
#include "worker/engine/step_plan.h"

namespace octet::worker {

struct SlotTableShape {
  int64_t slots = 0;
  int64_t context = 0;          // tokens a sequence may have
  int64_t blocks_per_slot = 0;  // ceil(context / 64)
  int64_t blocks = 0;           // in the pool
  int64_t vocab = 0;
};

struct SlotTableBuffers {
  int32_t* block_tables = nullptr;           // [slots, blocks_per_slot]
  int32_t* history = nullptr;                // [slots, context] token ids
  kernels::TokenBias* logit_bias = nullptr;  // [slots, kLogitBiasMax]
  int32_t* end_ids = nullptr;                // [slots, kEndIdsMax]
};

class SlotTable {
 public:
  SlotTable(const SlotTableShape& shape, const SlotTableBuffers& buffers);

  void Admit(const Admit& admit);
  void Release(int32_t slot);
  void AppendBlocks(int32_t slot, std::span<const int32_t> blocks);
  // The slot's token at `position`, told as its row is computed.
  void SetToken(int32_t slot, int64_t position, int32_t token);

  struct Slot {
    bool active = false;
    bool has_token = false;  // last_token is known: the slot can decode
    int32_t last_token = 0;
    int64_t length = 0;  // tokens in the cache
    int64_t block_count = 0;
    int64_t prompt_tokens = 0;
    kernels::SamplingParams sampling;
    float repetition_penalty = 1.0f;
    float presence_penalty = 0.0f;
    float frequency_penalty = 0.0f;
    int64_t min_tokens = 0;
    int64_t bias_count = 0;
    int64_t end_count = 0;
    int32_t logprobs = -1;
    int32_t prompt_logprobs = -1;
  };
  Slot& operator[](int32_t slot);
  const int32_t* block_table(int32_t slot) const;

  // What changes the logits that the token at `position` is drawn from. REQUIRES: the tokens before
  // it are known. Valid until the slot is released.
  kernels::Adjustment AdjustmentAt(int32_t slot, int64_t position) const;

  // block id * 64 + position inside the block. REQUIRES: the slot holds that block.
  int64_t CacheSlot(int32_t slot, int64_t position) const;

 private:
  SlotTableShape shape_;
  SlotTableBuffers buffers_;
  std::vector<Slot> slots_;
};

}  // namespace octet::worker
