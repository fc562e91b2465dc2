// A part of a matrix [rows, cols]; a tensor of one dimension is one row.
#pragma once

#include <cstdint>

namespace octet::worker {

struct MatrixSlice {
  int64_t row_begin = 0;
  int64_t row_end = 0;
  int64_t col_begin = 0;
  int64_t col_end = 0;
  int64_t rows() const { return row_end - row_begin; }
  int64_t cols() const { return col_end - col_begin; }
};

}  // namespace octet::worker
