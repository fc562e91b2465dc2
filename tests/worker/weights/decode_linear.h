// The weights of a packed linear, read back through the kernel that multiplies them: exact, as each
// output is one weight times one.
#pragma once

#include <vector>

#include "base/buffer.h"
#include "base/device/stream.h"
#include "base/thread_pool.h"
#include "kernels/linear/linear.h"

namespace octet::worker {

// [outputs, inputs]
inline std::vector<float> DecodeLinear(const kernels::LinearShape& shape, const std::byte* packed) {
  constexpr int64_t kRows = 64;
  const auto activation = kernels::ActivationFormat::kF32;
  ThreadPool pool(1);
  Stream stream(&pool);
  const Buffer workspace(kernels::LinearWorkspaceBytes(shape, activation, kRows));
  const int64_t roots = shape.root_count();
  std::vector<float> x(kRows * shape.inputs);
  std::vector<float> out(roots * kRows * shape.outputs);
  std::vector<float> weights(shape.outputs * shape.inputs);
  for (int64_t begin = 0; begin < shape.inputs; begin += kRows) {
    std::fill(x.begin(), x.end(), 0.0f);
    for (int64_t row = 0; row < kRows && begin + row < shape.inputs; ++row) {
      x[row * shape.inputs + begin + row] = 1.0f;
    }
    kernels::Linear({.shape = &shape,
                     .weights = packed,
                     .x = x.data(),
                     .x_stride = shape.inputs,
                     .rows = kRows,
                     .out = out.data(),
                     .activation = activation,
                     .workspace = workspace.data()},
                    stream);
    for (int64_t row = 0; row < kRows && begin + row < shape.inputs; ++row) {
      for (int64_t n = 0; n < shape.outputs; ++n) {
        float sum = 0.0f;
        for (int64_t root = 0; root < roots; ++root) {
          sum += out[(root * kRows + row) * shape.outputs + n];
        }
        weights[n * shape.inputs + begin + row] = sum;
      }
    }
  }
  return weights;
}

}  // namespace octet::worker
