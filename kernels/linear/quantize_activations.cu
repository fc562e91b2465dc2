// A block scales one leaf of one row, which it reads twice; its warps take neighbouring segments.
#include "kernels/linear/quantize_activations.h"

#include "base/check.h"
#include "kernels/linear/k_walk.h"
#include "kernels/linear/quantize_rows.cuh"
#include "kernels/rows.cuh"

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

__global__ void __launch_bounds__(32 * kWarps) QuantizeLeaves(const QuantizeParams p) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int64_t row = blockIdx.x;
  const auto leaf = static_cast<int32_t>(blockIdx.y);
  const float* x = p.x + row * p.x_stride;
  const auto place = [&](int32_t segment) -> SegmentPlace {
    const SegmentSpan span = SpanOfSegment(p.walk, leaf, segment);
    return {span.begin, span.end, span.position};
  };
  const auto load = [&]<int kWidth>(int input) { return LoadFloats<kWidth>(x + input); };
  QuantizeLeaf<kWarps>({p.out, row, p.wide}, leaf, p.walk.leaf[leaf].segment,
                       p.walk.leaf[leaf + 1].segment, place, load);
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
  OCTET_CHECK_EQ(args.out.leaves, p.walk.leaves);
  const dim3 grid(static_cast<unsigned>(args.rows), static_cast<unsigned>(p.walk.leaves));
  OCTET_LAUNCH_EARLY(QuantizeLeaves, grid, dim3(32 * kWarps), 0, stream, p);
}

}  // namespace octet::kernels::cuda
