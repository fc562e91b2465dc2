// A step's attention as a device reads it: the work plan and the sequences' block tables, laid out
// in the step's image. On the CPU, where attention reads the sequences themselves, all of this is
// nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention/attention.h"
#include "worker/engine/engine_config.h"
#include "worker/engine/step_image.h"

namespace octet::worker {

class AttentionImage {
 public:
  explicit AttentionImage(const EngineConfig& config);  // which outlives this

  // Lays the plan of a step of `rows` rows: as many bytes, whatever the sequences. Decides where
  // their tables will begin. `is_decode`: each sequence has one row.
  void LayPlan(int64_t rows, std::span<kernels::AttentionSequence> sequences, bool is_decode,
               StepImage* image);
  // Lays their tables, whose size varies.
  void LayTables(std::span<const kernels::AttentionSequence> sequences, StepImage* image);

  // Where LayTables will lay them in a step laid out like this one.
  void PlaceTables(StepImage* image) { tables_ = image->Take<int32_t>(0); }

  const kernels::AttentionDevicePlan& plan() const { return plan_; }
  const int32_t* block_tables() const { return tables_.device; }

  // Of the config's device; 0 on the CPU.
  static int64_t ImageBytes(const EngineConfig& config);
  static int64_t WorkspaceBytes(const EngineConfig& config);

 private:
  static kernels::AttentionLimits LimitsFor(const EngineConfig& config, int64_t rows);
  bool IsNarrow() const;  // a row is, for every kv head

  const EngineConfig& config_;
  kernels::AttentionDevicePlan plan_;
  ImagePart<int32_t> tables_;
  int64_t table_count_ = 0;  // entries of the step's tables
};

}  // namespace octet::worker
