// What a worker group computes, without a model: the next token of a sequence is a hash of all its
// tokens. It applies plans as a rank does and ends the process when a plan breaks the rules: a slot
// admitted twice, a row without a block, a row in another's block, a position out of order. The
// tokens of a sequence are read from its blocks, so that a wrong block gives a wrong token.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "octet/v1/worker_link.pb.h"

namespace octet::fakes {

// The token that follows `tokens`; below 256, so that a byte-level tokenizer has a byte for it.
int32_t FakeNextToken(std::span<const int32_t> tokens, const v1::Sampling& sampling);

// What is told of `token` when it follows `tokens`: a hash, and `top` tokens from it upwards.
v1::RowLogprobs FakeLogprobs(std::span<const int32_t> tokens, int32_t token, int32_t top);

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
    int64_t admission = 0;  // counts them
    int64_t cached_tokens = 0;
    int64_t rows = 0;
    int32_t last_token = -1;  // sampled, its row not computed; -1: in prefill
    std::vector<int32_t> blocks;
  };
  struct Block {
    int64_t tables = 0;
    int64_t writer = 0;           // the admission whose rows these are
    std::vector<int32_t> tokens;  // of the rows
  };
  void Release(int32_t slot);
  void Admit(const v1::Admit& admit);
  void Append(int32_t slot, int32_t block);
  void Write(Slot* slot, int32_t token);
  void Tell(const v1::PrefillChunk& chunk, v1::StepResult* result) const;
  void Sample(int32_t slot, v1::StepResult* result);
  std::vector<int32_t> Tokens(const Slot& slot, int64_t rows) const;

  int64_t block_tokens_;
  std::map<int32_t, Slot> slots_;
  std::map<int32_t, Block> blocks_;
  int64_t admissions_ = 0;
  uint64_t steps_ = 0;
};

}  // namespace octet::fakes
