// After the exchange, the same on every rank: the token of each sampled row, which its slot keeps
// for its next row, and the log-probabilities of the rows that tell them. The same tokens as
// ChooseFromCandidates and ChooseFromLogits choose on the CPU, and the same log-probabilities, bit
// for bit.
//
// One kernel, one block a row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/device/stream.h"
#include "kernels/sampling/device/sampling_step.h"
#include "kernels/sampling/device/slot_state.h"

namespace octet::kernels {

struct ChooseRowsArgs {
  // Device memory.
  const SamplingStep* step = nullptr;
  const SamplingRow* rows = nullptr;  // [rows_max], all of the exchange
  const std::byte* gather = nullptr;  // all ranks' parts, one after the other
  SlotState state;
  int32_t* tokens = nullptr;    // [sampled rows] out; -1: padding, or no logit was a number
  RowLogprobs* told = nullptr;  // [rows' told] out

  int64_t rows_max = 0;
  VocabCut cut;
};
// Bytes: a candidate row reads what was exchanged for it; a row on route kLogits reads its
// 4 * vocab (8 where its slot adjusts) once for the best logit and two to four times, from L2, for
// each of top-k, top-p and the draw. A row that tells reads 8 bytes for each tile of 512.
void ChooseRows(const ChooseRowsArgs& args, Stream& stream);
namespace cuda {
OCTET_CUDA_OP void ChooseRows(const ChooseRowsArgs& args, Stream& stream);
}

}  // namespace octet::kernels
