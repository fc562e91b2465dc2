// f32 rows to the int8 rows that a linear reads, for callers that cannot write them themselves.
//
// Moves 4 bytes in and 1 out an input. Bits: linear8_definition.h.
#pragma once

#include <cstdint>

#include "base/device/stream.h"
#include "kernels/linear/activation_rows.h"
#include "kernels/linear/linear.h"

namespace octet::kernels {

struct QuantizeActivationsArgs {
  const LinearShape* shape = nullptr;  // of the linear that reads them
  const float* x = nullptr;            // [rows, inputs] f32
  int64_t x_stride = 0;                // elements
  int64_t rows = 0;
  // For `rows` rows of the shape; its table of segments is not read and may be null.
  ActivationRows out;
};

namespace cuda {
OCTET_CUDA_OP void QuantizeActivations(const QuantizeActivationsArgs& args, Stream& stream);
}

}  // namespace octet::kernels
