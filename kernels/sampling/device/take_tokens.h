// The first op of a step on a device: each row's input token, which for a decode row only the
// device knows, and what the row adds to its slot's history.
#pragma once

#include <cstdint>

#include "base/device/stream.h"
#include "kernels/sampling/device/slot_state.h"

namespace octet::kernels {

struct TakeTokensArgs {
  // Device memory, from the step image. [rows_max] each.
  const int32_t* slots = nullptr;      // -1: padding
  const int32_t* given = nullptr;      // the row's token; -1: the last that the slot chose
  const int32_t* positions = nullptr;  // of the row
  int64_t rows_max = 0;
  SlotState state;
  int32_t* tokens = nullptr;  // [rows_max] out; 0 for padding. May be `given`
};
// Marks token and position in the slot's history: every position once between two admissions, in
// any order. Bytes: 16 a row, 4 more where the slot penalizes.
void TakeTokens(const TakeTokensArgs& args, Stream& stream);
namespace cuda {
OCTET_CUDA_OP void TakeTokens(const TakeTokensArgs& args, Stream& stream);
}

}  // namespace octet::kernels
