#include "kernels/isa.h"
#include "kernels/norm/head_norm.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/norm_isa.h"

namespace octet::kernels::cpu {

namespace {

// Both ops' arguments have the norm's under the same names.
template <typename Args>
void NormRow(const NormBody& body, const Args& args, const float* x, float* y) {
  if (args.centered) {
    body.layer_norm_row(x, args.weight, args.bias, y, args.hidden, args.eps);
  } else {
    body.rms_norm_row(x, args.weight, y, args.hidden, args.eps);
  }
}

}  // namespace

void Norm(const NormArgs& args, Stream& stream) {
  const NormBody& body = OfActiveIsa(kPlainNorm, kAvx2Norm, kAvx512Norm);
  const int64_t hidden = args.hidden;
  stream.pool().ParallelFor(args.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      NormRow(body, args, args.x + row * hidden, args.y + row * hidden);
    }
  });
}

void AddNorm(const AddNormArgs& args, Stream& stream) {
  const NormBody& body = OfActiveIsa(kPlainNorm, kAvx2Norm, kAvx512Norm);
  const int64_t hidden = args.hidden;
  stream.pool().ParallelFor(args.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* residual = args.residual + row * hidden;
      body.add_row(residual, args.delta + row * hidden, hidden);
      if (args.delta_bias != nullptr) body.add_row(residual, args.delta_bias, hidden);
      NormRow(body, args, residual, args.y + row * hidden);
    }
  });
}

void HeadNorm(const HeadNormArgs& args, Stream& stream) {
  const NormBody& body = OfActiveIsa(kPlainNorm, kAvx2Norm, kAvx512Norm);
  stream.pool().ParallelFor(args.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t head = 0; head < args.heads + args.kv_heads; ++head) {
        float* x = args.x + row * args.x_stride + head * args.head_dim;
        const float* weight = head < args.heads ? args.q_weight : args.k_weight;
        body.rms_norm_row(x, weight, x, args.head_dim, args.eps);
      }
    }
  });
}

}  // namespace octet::kernels::cpu
