// A warp scales one segment of one row. The warps of a block take neighbouring segments, so that
// they read one run of memory.
#include "kernels/linear/quantize_activations.h"

#include "base/check.h"
#include "kernels/linear/k_walk.h"
#include "kernels/linear/quantize_rows.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int kWarps = 8;

struct QuantizeParams {
  const float* x;
  int64_t x_stride;
  bool wide;
  ActivationRows out;
  KWalk walk;
};

template <int kWidth>
struct Run {
  float v[kWidth];
};

__global__ void __launch_bounds__(32 * kWarps) QuantizeSegments(const QuantizeParams p) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int32_t segment =
      static_cast<int32_t>(blockIdx.x) * kWarps + static_cast<int32_t>(threadIdx.x) / 32;
  if (segment >= p.walk.segments) return;
  const int64_t row = blockIdx.y;
  const float* x = p.x + row * p.x_stride;
  const SegmentSpan span = SpanOfSegment(p.walk, segment);
  const SegmentPlace at = {row, segment, span.begin, span.end, span.position};
  const auto load = [&]<int kWidth>(int input) {
    Run<kWidth> run;
    if constexpr (kWidth == 4) {
      [[maybe_unused]] const float4 four = *reinterpret_cast<const float4*>(x + input);
      run = {{four.x, four.y, four.z, four.w}};
    } else {
      run.v[0] = x[input];
    }
    return run;
  };
  if (p.wide && at.begin % 4 == 0 && at.end % 4 == 0) {
    QuantizeInputs<4>(p.out, at, load);
  } else {
    QuantizeInputs<1>(p.out, at, load);
  }
}

}  // namespace

void QuantizeActivations(const QuantizeActivationsArgs& args, Stream& stream) {
  OCTET_CHECK(args.out.format == ActivationFormat::kInt8);
  OCTET_CHECK_GE(args.out.padded_rows(), args.rows);
  if (args.rows == 0 || args.shape->inputs == 0) return;
  QuantizeParams p;
  p.x = args.x;
  p.x_stride = args.x_stride;
  p.wide = reinterpret_cast<uintptr_t>(args.x) % 16 == 0 && args.x_stride % 4 == 0;
  p.out = args.out;
  p.walk = KWalk::Of(*args.shape);
  OCTET_CHECK_EQ(args.out.segments, p.walk.segments);
  const dim3 grid(static_cast<unsigned>((p.walk.segments + kWarps - 1) / kWarps),
                  static_cast<unsigned>(args.rows));
  OCTET_LAUNCH_EARLY(QuantizeSegments, grid, dim3(32 * kWarps), 0, stream, p);
}

}  // namespace octet::kernels::cuda
