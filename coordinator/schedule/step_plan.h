// What one step computes, as plain values: the scheduler makes it, the link turns it into
// octet.v1.StepPlan (proto/octet/v1/worker_link.proto), the ranks apply it in the order of its
// fields. Immutable once made. Knows nothing of protobuf and of requests.
#pragma once

#include <cstdint>
#include <vector>

namespace octet::schedule {

struct SamplingSpec {
  float temperature = 0.0f;
  int32_t top_k = 0;
  float top_p = 1.0f;
  float min_p = 0.0f;
  uint64_t seed = 0;
  uint32_t sample_index = 0;
};

struct Admit {
  int32_t slot = 0;
  uint64_t id = 0;
  SamplingSpec sampling;
  int64_t rope_length = 0;  // prompt length at the first admission
};

struct BlockUpdate {
  int32_t slot = 0;
  std::vector<int32_t> appended;  // added at the end of the slot's block table
};

struct PrefillChunk {
  int32_t slot = 0;
  int64_t first_position = 0;
  std::vector<int32_t> tokens;
  bool sample = false;  // the chunk ends the known tokens: its last row is sampled
};

// Applied in this order: releases, admits, block updates; then the rows are computed, the prefill
// chunks in order and then one decode row for each slot of `decodes` in order.
struct StepPlan {
  uint64_t step = 0;
  std::vector<int32_t> releases;
  std::vector<Admit> admits;
  std::vector<BlockUpdate> blocks;
  std::vector<PrefillChunk> prefills;
  std::vector<int32_t> decodes;

  int64_t rows() const {
    auto rows = static_cast<int64_t>(decodes.size());
    for (const PrefillChunk& chunk : prefills) rows += static_cast<int64_t>(chunk.tokens.size());
    return rows;
  }
};

}  // namespace octet::schedule
