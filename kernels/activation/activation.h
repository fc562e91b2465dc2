// What an MLP does between its linears: the gate of a gated one, or a plain ReLU.
#pragma once

#include <cstdint>

#include "base/device/stream.h"
#include "kernels/linear/activation_rows.h"

namespace octet::kernels {

struct SiluMulArgs {
  const float* gate_up = nullptr;  // [rows, 2 * width] f32: gate, then up
  float* y = nullptr;              // [rows, width] f32; null if `out` is wanted
  int64_t rows = 0;
  int64_t width = 0;
  ActivationRows out;  // y as the next linear reads it, or empty. REQUIRES: empty on the CPU
};
// y = gate / (1 + exp(-gate)) * up, within 4 ulp; CUDA has the bits of the CPU.
void SiluMul(const SiluMulArgs& args, Stream& stream);

struct ReluArgs {
  const float* x = nullptr;  // [rows, width] f32
  float* y = nullptr;        // [rows, width] f32, may be x; null if `out` is wanted
  int64_t rows = 0;
  int64_t width = 0;
  ActivationRows out;  // as in SiluMulArgs
};
// y = x where x > 0, NaN for NaN, else +0: exactly, on every device.
void Relu(const ReluArgs& args, Stream& stream);

namespace cpu {
void SiluMul(const SiluMulArgs& args, Stream& stream);
void Relu(const ReluArgs& args, Stream& stream);
}  // namespace cpu
namespace cuda {
OCTET_CUDA_OP void SiluMul(const SiluMulArgs& args, Stream& stream);
OCTET_CUDA_OP void Relu(const ReluArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::kernels
