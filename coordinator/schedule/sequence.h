// What the scheduler knows of one live sequence, and what of it is under way. Plain values, all of
// the scheduler's thread; only the scheduler's own sources include this.
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "coordinator/schedule/block_cache.h"
#include "coordinator/schedule/step_plan.h"

namespace octet::schedule {

// The lower goes first. Set at arrival for good, so that whoever waits comes nearer to its turn.
struct Turn {
  int64_t step = 0;      // steps planned at arrival + priority * steps per priority
  uint64_t arrival = 0;  // never used twice, unlike the sequence's id
  auto operator<=>(const Turn&) const = default;
};

struct Sequence {
  // Running: it owns a slot and a table of blocks. Ending: its last row is planned.
  enum class State { kWaiting, kRunning, kEnding };

  int64_t token_count() const { return static_cast<int64_t>(tokens.size()); }
  int64_t generated() const { return token_count() - given_tokens; }
  bool in_prefill() const { return rows_planned < prefill_tokens; }

  uint64_t id = 0;
  Turn turn;
  std::vector<int32_t> tokens;  // given + accepted
  int64_t given_tokens = 0;     // with the submission
  int64_t prompt_tokens = 0;    // of the request, at its first admission
  int64_t max_tokens = 0;
  int64_t rope_tokens = 0;  // of its blocks' keys; 0: the rotation does not depend on the length
  SamplingSpec sampling;
  std::vector<int32_t> stop_tokens;
  std::vector<uint64_t> block_hashes;  // of tokens, as far as asked for
  bool is_self_test = false;
  bool ran_before = false;
  int64_t cached_tokens = 0;          // found at its first admission
  int64_t prompt_tokens_counted = 0;  // in the counter of prompt tokens

  State state = State::kWaiting;
  int64_t samples_in_flight = 0;
  // The next prompt position to be told, when sampling.prompt_logprobs asks for it; position p is
  // told by row p - 1, and position 0 never. Told: by a result. Planned: or by a plan in flight,
  // whose result counts also when the sequence was preempted meanwhile.
  int64_t next_told = 1;
  int64_t next_told_planned = 1;

  // While running:
  int32_t slot = -1;
  std::vector<int32_t> blocks;
  int64_t prefill_tokens = 0;  // known at admission: computed in chunks, then decode rows follow
  int64_t rows_planned = 0;    // positions [0, rows_planned) are cached, computed or in flight
  uint64_t last_step = 0;      // the last plan that names the slot
  // Its first chain_blocks blocks, or others that hold the same, can be found up to chain_end.
  int64_t chain_blocks = 0;
  ChainLink chain_end;
};

struct EarlierTurn {
  using is_transparent = void;
  bool operator()(const Sequence* a, const Sequence* b) const { return a->turn < b->turn; }
};

// A slot and a table that left their sequence while plans up to last_step still name them.
struct Leaving {
  int32_t slot = 0;
  std::vector<int32_t> blocks;
  uint64_t last_step = 0;
};

// What a plan's result brings to one slot.
struct DueResult {
  int32_t slot = 0;
  bool sampled = false;
  int32_t logprobs = -1;  // best tokens due with the sampled one; -1: nothing is told
  uint64_t id = 0;
  uint64_t arrival = 0;    // with id: of the sequence
  int64_t told_first = 0;  // prompt positions due: [told_first, told_first + told_count)
  int64_t told_count = 0;
};

struct PlanInFlight {
  uint64_t step = 0;
  std::vector<DueResult> due;  // in plan order
  int64_t samples = 0;
  int64_t samples_with_logprobs = 0;
  int64_t chunks_that_tell = 0;
};

}  // namespace octet::schedule
