// What a rank brings to the exchange, from the logits of its run of the vocabulary: logits as they
// are, or candidates of the adjusted ones; tile sums, the best raw logits and raw logits to tell.
// The same values as LocalCandidates, LocalLogprobs and AdjustRows give on the CPU, bit for bit;
// the logits are not changed.
//
// Two kernels whatever the rows ask: one over runs of kRunTokens of every row, one over rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/device/stream.h"
#include "kernels/sampling/device/sampling_step.h"
#include "kernels/sampling/device/slot_state.h"

namespace octet::kernels {

inline constexpr int64_t kRunTokens = 2048;  // of a row, in one block

struct OfferRowsArgs {
  // Device memory.
  const SamplingStep* step = nullptr;
  const SamplingRow* rows = nullptr;  // [rows_max]; those of one pass of the head
  const float* logits = nullptr;      // [rows.logits_row, cut.held()] f32, aligned to 16
  SlotState state;
  std::byte* workspace = nullptr;  // OfferWorkspaceBytes(rows_max, cut.held()), aligned to 8
  std::byte* send = nullptr;       // this rank's part of the exchange

  int64_t rows_max = 0;
  VocabCut cut;
};
int64_t OfferWorkspaceBytes(int64_t rows_max, int64_t held);

// Bytes: 4 * held a row read, as much again of marks where its slot adjusts, and 4 * held written
// where the row brings its logits. Where top-k or best logits are asked for, the spans that can
// hold them are read again, from L2.
void OfferRows(const OfferRowsArgs& args, Stream& stream);
namespace cuda {
OCTET_CUDA_OP void OfferRows(const OfferRowsArgs& args, Stream& stream);
}

}  // namespace octet::kernels
