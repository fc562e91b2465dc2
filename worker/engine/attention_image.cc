#include "worker/engine/attention_image.h"

#include <algorithm>

namespace octet::worker {
namespace {

int64_t TableEntries(const kernels::AttentionSequence& sequence) {
  const int64_t tokens = sequence.first_position + sequence.row_count;
  return (tokens + kernels::kKvBlockTokens - 1) / kernels::kKvBlockTokens;
}

}  // namespace

AttentionImage::AttentionImage(const EngineConfig& config) : config_(config) {}

kernels::AttentionLimits AttentionImage::LimitsFor(const EngineConfig& config, int64_t rows) {
  return {.slots = std::min(rows, config.slots),
          .step_rows = rows,
          .context = config.context,
          .workers = kernels::AttentionWorkers(config.kv_layout(), config.gpu,
                                               config.shard.head_groups, rows),
          .head_dim = config.spec.head_dim,
          .groups = config.shard.head_groups,
          .workers_max = kernels::AttentionWorkers(config.kv_layout(), config.gpu)};
}

int64_t AttentionImage::ImageBytes(const EngineConfig& config) {
  if (config.device == Device::kCpu) return 0;
  const int64_t tables = config.slots * config.blocks_per_sequence();
  return AlignUp(kernels::SizeAttentionPlan(LimitsFor(config, config.step_rows)).plan_bytes()) +
         AlignUp(tables * int64_t{sizeof(int32_t)});
}

int64_t AttentionImage::WorkspaceBytes(const EngineConfig& config) {
  if (config.device == Device::kCpu) return 0;
  return kernels::SizeAttentionPlan(LimitsFor(config, config.step_rows)).workspace_bytes();
}

bool AttentionImage::IsNarrow() const {
  const auto& groups = config_.shard.head_groups;
  return std::all_of(groups.begin(), groups.end(), [](const kernels::HeadGroup& group) {
    return group.head_count <= kernels::kAttentionNarrowVectors;
  });
}

void AttentionImage::LayPlan(int64_t rows, std::span<kernels::AttentionSequence> sequences,
                             bool is_decode, StepImage* image) {
  if (config_.device == Device::kCpu || rows == 0) return;
  table_count_ = 0;
  for (kernels::AttentionSequence& sequence : sequences) {
    sequence.table_offset = table_count_;
    table_count_ += TableEntries(sequence);
  }
  const kernels::AttentionLimits limits = LimitsFor(config_, rows);
  plan_ = kernels::SizeAttentionPlan(limits);
  plan_.wide_tiles = !is_decode || !IsNarrow();
  const ImagePart<std::byte> part = image->Take<std::byte>(plan_.plan_bytes());
  kernels::BuildAttentionPlan(limits, config_.spec.sliding_window, sequences, part.host);
  plan_.bytes = part.device;
}

void AttentionImage::LayTables(std::span<const kernels::AttentionSequence> sequences,
                               StepImage* image) {
  if (config_.device == Device::kCpu || table_count_ == 0) return;
  tables_ = image->Take<int32_t>(table_count_);
  for (const kernels::AttentionSequence& sequence : sequences) {
    std::copy_n(sequence.block_table, TableEntries(sequence), tables_.host + sequence.table_offset);
  }
}

}  // namespace octet::worker
