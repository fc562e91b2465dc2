#include <algorithm>

#include "kernels/activation/activation.h"
#include "kernels/activation/activation_isa.h"
#include "kernels/isa.h"

namespace octet::kernels::cpu {
namespace {

// Elements of one item of work: a few microseconds. Spans start on whole lanes, but an element's
// bits do not depend on where its span starts.
constexpr int64_t kSpan = 4096;

}  // namespace

void SiluMul(const SiluMulArgs& args, Stream& stream) {
  const ActivationBody& body = OfActiveIsa(kPlainActivation, kAvx2Activation, kAvx512Activation);
  const int64_t width = args.width;
  const int64_t spans = (width + kSpan - 1) / kSpan;
  stream.pool().ParallelFor(args.rows * spans, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row = item / spans;
      const int64_t first = item % spans * kSpan;
      const int64_t count = std::min(kSpan, width - first);
      const float* gate = args.gate_up + row * 2 * width + first;
      float* y = args.y + row * width + first;
      body.silu_mul(gate, gate + width, y, count);
    }
  });
}

// One comparison an element, the same in any instruction family.
void Relu(const ReluArgs& args, Stream& stream) {
  stream.pool().ParallelFor(args.rows * args.width, kSpan, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) args.y[i] = args.x[i] <= 0.0f ? 0.0f : args.x[i];
  });
}

}  // namespace octet::kernels::cpu
