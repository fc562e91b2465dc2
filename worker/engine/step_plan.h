// What a rank is told to do in one step, and what it answers: the plain form of octet.v1.StepPlan
// and StepResult (proto/octet/v1/worker_link.proto says what the fields mean).
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/sampling/sampling.h"

namespace octet::worker {

struct Admit {
  int32_t slot = 0;
  kernels::SamplingParams sampling;
  int64_t prompt_tokens = 0;  // of the request, at its first admission
};

struct BlockUpdate {
  int32_t slot = 0;
  std::vector<int32_t> appended_blocks;
};

struct PrefillChunk {
  int32_t slot = 0;
  int64_t first_position = 0;
  std::vector<int32_t> tokens;
  bool sample = false;
};

struct StepPlan {
  uint64_t step = 0;
  std::vector<int32_t> release_slots;
  std::vector<Admit> admits;
  std::vector<BlockUpdate> blocks;
  std::vector<PrefillChunk> prefills;
  std::vector<int32_t> decode_slots;
};

struct StepResult {
  uint64_t step = 0;
  std::vector<int32_t> slots;   // sampled, in plan order
  std::vector<int32_t> tokens;  // [slots]; -1: no logit was a number
};

}  // namespace octet::worker
