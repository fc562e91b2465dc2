// A worker group that computes nothing: it applies plans as a rank would (releases, admits, block
// updates, rows) and refuses the first thing that a rank could not do. Its KV cache holds a hash
// per row, of its token and all before it, and a sampled token is a hash of all rows that the block
// table reaches, so a wrong block, a missing row or a stale one gives a wrong token. Knows nothing
// of the scheduler's state.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <vector>

#include "base/status.h"
#include "coordinator/schedule/scheduler.h"

namespace octet::schedule {

// The decoder that the ranks stand for. A row depends on its token, all before it and, if the model
// is made so, on the prompt's length; a sampled token on all rows and the sampling. One token in
// `stop_period` is kStopToken, and one in `nan_period` does not exist (-1).
inline constexpr int32_t kStopToken = 7;

struct FakeModel {
  uint64_t stop_period = 16;
  uint64_t nan_period = 400;
  int64_t rope_scaled_beyond = 0;  // of SchedulerLimits

  uint64_t Start(int64_t prompt_tokens) const;
  static uint64_t Row(uint64_t row_before, int32_t token);
  int32_t Sample(uint64_t sum_of_rows, const SamplingSpec& sampling) const;
  // What a row tells of the token that follows.
  static TokenLogprobs Tell(uint64_t sum_of_rows, int32_t token, int32_t top);
};

// All that a sequence must bring, computed straight ahead.
struct FakeAnswer {
  std::vector<int32_t> tokens;                 // the last one may be -1
  std::vector<TokenLogprobs> logprobs;         // [tokens], if asked for
  std::vector<TokenLogprobs> prompt_logprobs;  // of positions 1 and up, if asked for
};
FakeAnswer Generate(const FakeModel& model, const NewSequence& sequence, int64_t tokens_max);

class SimulatedRanks {
 public:
  SimulatedRanks(SchedulerLimits limits, FakeModel model);

  Result<StepResult> Apply(const StepPlan& plan);
  // The oldest plan applied is in flight no more.
  void Committed();

  int64_t held_blocks() const;
  bool Holds(uint64_t id) const;

 private:
  struct Slot {
    uint64_t id = 0;
    SamplingSpec sampling;
    int64_t prompt_tokens = 0;
    int64_t admission = 0;  // counts them
    int64_t cached_tokens = 0;
    std::vector<int32_t> cached_token_ids;
    std::vector<int32_t> table;
    int64_t rows = 0;
    int32_t last_token = -1;  // -1: still in prefill
  };
  struct Block {
    int64_t tables = 0;
    int64_t writer = 0;  // the admission whose rows these are
  };
  struct CacheRow {
    uint64_t hash = 0;  // 0: never written
    int32_t token = -1;
  };
  struct RowToDo {
    int32_t slot = 0;
    int64_t position = 0;
    int32_t token = 0;
  };
  struct Named {
    std::set<int32_t> slots;
    std::set<int32_t> blocks;
  };

  Status ApplyReleases(const StepPlan& plan);
  Status ApplyAdmits(const StepPlan& plan);
  Status ApplyBlocks(const StepPlan& plan);
  Status AppendBlock(Slot* slot, int32_t block);
  Status QueueChunk(const PrefillChunk& chunk);
  Status QueueDecode(int32_t slot);
  Status Compute(const RowToDo& row);
  Status Read(const PrefillChunk& chunk, StepResult* result);
  Status CheckHistory(const Slot& slot);
  void Sample(int32_t slot, StepResult* result);
  uint64_t SumOfRows(const Slot& slot, int64_t rows);
  Slot* Find(int32_t slot);
  CacheRow& Row(const Slot& slot, int64_t position);

  SchedulerLimits limits_;
  FakeModel model_;
  std::vector<std::optional<Slot>> slots_;
  std::vector<Block> blocks_;
  std::vector<CacheRow> rows_;  // [blocks, block_tokens]
  std::vector<RowToDo> to_do_;  // of the step being applied
  std::deque<Named> in_flight_;
  int64_t admissions_ = 0;
  uint64_t step_ = 0;
};

}  // namespace octet::schedule
