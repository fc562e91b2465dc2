// A worker group that computes nothing: it applies plans as a rank would (releases, admits, block
// updates, rows) and refuses the first thing that a rank could not do. Its KV cache holds a hash
// per row and a sampled token is a hash of all rows that the block table reaches, so a wrong block,
// a missing row or a stale one gives a wrong token. Knows nothing of the scheduler's state.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/status.h"
#include "coordinator/schedule/scheduler.h"

namespace octet::schedule {

// The decoder that the ranks stand for. A token depends on all tokens before it, on the sampling
// seed and on the rope length; one in `stop_period` is kStopToken.
inline constexpr int32_t kStopToken = 7;

struct FakeModel {
  uint64_t stop_period = 16;

  static uint64_t Start(uint64_t seed, int64_t rope_length);
  static uint64_t Row(uint64_t row_before, int32_t token);
  int32_t Sample(uint64_t sum_of_rows) const;
  // What `sequence` must generate, computed straight ahead.
  std::vector<int32_t> Generate(const NewSequence& sequence, int64_t tokens_max) const;
};

struct SimulatedResult {
  uint64_t step = 0;
  std::vector<int32_t> slots;
  std::vector<int32_t> tokens;
};

class SimulatedRanks {
 public:
  SimulatedRanks(SchedulerLimits limits, FakeModel model);

  Result<SimulatedResult> Apply(const StepPlan& plan);
  // The oldest plan applied is in flight no more.
  void Committed();

  int64_t held_blocks() const;
  bool Holds(uint64_t id) const;

 private:
  struct Slot {
    uint64_t id = 0;
    SamplingSpec sampling;
    int64_t rope_length = 0;
    std::vector<int32_t> table;
    int64_t rows = 0;
    int32_t last_token = -1;  // -1: still in prefill
  };
  struct Named {
    std::set<int32_t> slots;
    std::set<int32_t> blocks;
  };

  Status ApplyReleases(const StepPlan& plan);
  Status ApplyAdmits(const StepPlan& plan);
  Status ApplyBlocks(const StepPlan& plan);
  Status ApplyPrefill(const PrefillChunk& chunk, SimulatedResult* result);
  Status ApplyDecode(int32_t slot, SimulatedResult* result);
  Status Compute(int32_t slot, int32_t token);
  void Sample(int32_t slot, SimulatedResult* result);
  Slot* Find(int32_t slot);
  uint64_t& Row(const Slot& slot, int64_t position);

  SchedulerLimits limits_;
  FakeModel model_;
  std::vector<std::optional<Slot>> slots_;
  std::vector<int32_t> owners_;  // [blocks] the slot, or -1
  std::vector<uint64_t> rows_;   // [blocks, block_tokens] a hash; 0: never written
  std::deque<Named> in_flight_;  // by the rows of the plans in flight
  uint64_t step_ = 0;
};

}  // namespace octet::schedule
