// What a linear with bf16 activations does to its rows first, where it has to: rounding f32 rows
// and laying rows out by steps, and adding up each segment's inputs for asymmetric weights.
#pragma once

#include <cstdint>

#include "base/device/stream.h"
#include "kernels/linear/activation_rows.h"
#include "kernels/linear/cuda16_layout.h"

namespace octet::kernels {

struct Linear16RowsArgs {
  ActivationRows from;  // f32 or bf16
  int64_t rows = 0;
  int64_t group = 0;  // inputs; segments are cut at its multiples, counted from input_begin
  int64_t input_begin = 0;
  Cuda16Inputs inputs;
  uint16_t* by_steps = nullptr;  // [rows, blocks * 128] bf16, padding zero; or null
  float* sums = nullptr;         // [segments, sums_stride] of the rounded inputs; or null
  int64_t sums_stride = 0;
};

namespace cuda {
void Linear16Rows(const Linear16RowsArgs& args, Stream& stream);
}

}  // namespace octet::kernels
