// Where a matrix lies in device memory, in the form that tensor copies (sm_90) read: made on the
// host, given to a kernel by value as `const OCTET_GRID_CONSTANT hw::TensorMap map`, and used by
// hw::tensor_load. It stays right as long as the matrix stays where it is, in a captured graph too.
#pragma once

#include <cstdint>

namespace octet::hw {

// What is inside is the device's: the driver's form for a GPU, the emulator's own there.
struct alignas(64) TensorMap {
  uint64_t words[16];
};

inline constexpr int32_t kTensorBoxInputs = 64;  // a row of a box: 128 bytes
inline constexpr int32_t kTensorBoxRowsMax = 256;

// A matrix of 16-bit elements [rows, inputs], of which tensor_load copies boxes of `box_rows` rows
// x 64 inputs. What lies past the last row or input comes as zeros and is not read. REQUIRES:
// `values` is device memory aligned to 16; `stride` (elements) is a multiple of 8, at least
// `inputs`; 0 < rows, inputs < 2^31; box_rows in [1, 256].
TensorMap MakeTensorMap(const void* values, int64_t rows, int64_t inputs, int64_t stride,
                        int32_t box_rows);

}  // namespace octet::hw
