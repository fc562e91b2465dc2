// What a worker group computes, without a model: the next token of a sequence is a hash of all its
// tokens. It applies plans as a rank does and ends the process when a plan breaks the rules: a slot
// admitted twice, a row without a block, a block in two tables, a position out of order.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "octet/v1/worker_link.pb.h"

namespace octet::fakes {

// The token that follows `tokens`; below 256, so that a byte-level tokenizer has a byte for it.
int32_t FakeNextToken(std::span<const int32_t> tokens, const v1::Sampling& sampling);

// The whole answer to a prompt, as an undisturbed engine gives it.
std::vector<int32_t> FakeAnswer(std::vector<int32_t> prompt, int64_t count, uint64_t seed,
                                float temperature);

class FakeEngine {
 public:
  explicit FakeEngine(int64_t block_tokens) : block_tokens_(block_tokens) {}
  v1::StepResult Apply(const v1::StepPlan& plan);
  int64_t slots_in_use() const { return static_cast<int64_t>(slots_.size()); }

 private:
  struct Slot {
    v1::Sampling sampling;
    std::vector<int32_t> tokens;  // computed, and the last one sampled
    std::vector<int32_t> blocks;
  };
  void Release(int32_t slot);
  void Sample(int32_t slot, v1::StepResult* result);

  int64_t block_tokens_;
  std::map<int32_t, Slot> slots_;
  std::set<int32_t> blocks_in_use_;
  uint64_t steps_ = 0;
};

}  // namespace octet::fakes
