// cuBLASLt as the denominator of benchmarks: y^T = W x^T in bf16 with float32 sums. The library is
// loaded at run time, so that building needs its header at most, and the bench runs without it.
#pragma once

#include <cstdint>
#include <memory>

#include "base/device/device.h"

namespace octet {

class CublasLt {
 public:
  // Null where the library is not found.
  static std::unique_ptr<CublasLt> Load();
  virtual ~CublasLt() = default;

  // Asks for the best algorithm for weights [outputs, inputs] and x [rows, inputs]; false: none.
  virtual bool Prepare(int64_t outputs, int64_t rows, int64_t inputs) = 0;
  // out [rows, outputs] bf16.
  virtual void Multiply(const void* weights, const void* x, void* out, Stream& stream) = 0;
};

}  // namespace octet
