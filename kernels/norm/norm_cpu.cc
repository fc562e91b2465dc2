#include "kernels/isa.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/norm_isa.h"
#include "kernels/norm/norm_lanes.h"

namespace octet::kernels::cpu {

void RmsNorm(const RmsNormArgs& args, Stream& stream) {
  const bool avx512 = ActiveIsa() == Isa::kAvx512Vnni;
  const int64_t hidden = args.hidden;
  stream.pool().ParallelFor(args.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = args.x + row * hidden;
      float* y = args.y + row * hidden;
      avx512 ? avx512::RmsNormRow(x, args.weight, y, hidden, args.eps)
             : RmsNormRow(x, args.weight, y, hidden, args.eps);
    }
  });
}

void AddRmsNorm(const AddRmsNormArgs& args, Stream& stream) {
  const bool avx512 = ActiveIsa() == Isa::kAvx512Vnni;
  const int64_t hidden = args.hidden;
  stream.pool().ParallelFor(args.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* residual = args.residual + row * hidden;
      const float* delta = args.delta + row * hidden;
      float* y = args.y + row * hidden;
      if (avx512) {
        avx512::AddRow(residual, delta, hidden);
        if (args.delta_bias != nullptr) avx512::AddRow(residual, args.delta_bias, hidden);
        avx512::RmsNormRow(residual, args.weight, y, hidden, args.eps);
      } else {
        AddRow(residual, delta, hidden);
        if (args.delta_bias != nullptr) AddRow(residual, args.delta_bias, hidden);
        RmsNormRow(residual, args.weight, y, hidden, args.eps);
      }
    }
  });
}

}  // namespace octet::kernels::cpu
