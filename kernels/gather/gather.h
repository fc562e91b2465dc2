// Columns of rows in another order, or zeros between them: what linears read whose inputs are
// sorted (act-order).
#pragma once

#include <cstdint>

#include "base/device/stream.h"

namespace octet::kernels {

struct GatherColumnsArgs {
  const float* x = nullptr;        // [rows, x_width] f32
  const int32_t* order = nullptr;  // [width] where each column of y is found in x, in [0, x_width);
                                   // -1: nowhere, it is 0
  float* y = nullptr;              // [rows, width] f32, row stride y_stride; must not alias x
  int64_t rows = 0;
  int64_t width = 0;
  int64_t y_stride = 0;  // elements, at least width
  int64_t x_width = 0;
};
// y[r, i] = x[r, order[i]], exactly, or 0. Bytes moved: 8 an element, and 4 a column.
void GatherColumns(const GatherColumnsArgs& args, Stream& stream);
namespace cpu {
void GatherColumns(const GatherColumnsArgs& args, Stream& stream);
}
namespace cuda {
OCTET_CUDA_OP void GatherColumns(const GatherColumnsArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::kernels
