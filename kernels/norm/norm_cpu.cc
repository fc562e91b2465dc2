#include "kernels/isa.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/norm_isa.h"

namespace octet::kernels::cpu {

void RmsNorm(const RmsNormArgs& args, Stream& stream) {
  const NormBody& body = OfActiveIsa(kPlainNorm, kAvx2Norm, kAvx512Norm);
  const int64_t hidden = args.hidden;
  stream.pool().ParallelFor(args.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      body.rms_norm_row(args.x + row * hidden, args.weight, args.y + row * hidden, hidden,
                        args.eps);
    }
  });
}

void AddRmsNorm(const AddRmsNormArgs& args, Stream& stream) {
  const NormBody& body = OfActiveIsa(kPlainNorm, kAvx2Norm, kAvx512Norm);
  const int64_t hidden = args.hidden;
  stream.pool().ParallelFor(args.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* residual = args.residual + row * hidden;
      body.add_row(residual, args.delta + row * hidden, hidden);
      if (args.delta_bias != nullptr) body.add_row(residual, args.delta_bias, hidden);
      body.rms_norm_row(residual, args.weight, args.y + row * hidden, hidden, args.eps);
    }
  });
}

}  // namespace octet::kernels::cpu
