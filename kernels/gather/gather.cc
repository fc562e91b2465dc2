#include "kernels/gather/gather.h"

#include "kernels/dispatch.h"

namespace octet::kernels {

void GatherColumns(const GatherColumnsArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GE(args.width, 0);
  if (args.rows == 0 || args.width == 0) return;
  OCTET_CHECK(args.x != nullptr && args.order != nullptr && args.y != nullptr);
  OCTET_CHECK(args.x != args.y);
  OCTET_CHECK_GE(args.y_stride, args.width);
  OCTET_CHECK_GE(args.x_width, 1);
  Dispatch(cpu::GatherColumns, cuda::GatherColumns, args, stream);
}

namespace cpu {

void GatherColumns(const GatherColumnsArgs& args, Stream& stream) {
  constexpr int64_t kSpan = 4096;  // columns of one item of work
  const int64_t spans = (args.width + kSpan - 1) / kSpan;
  stream.pool().ParallelFor(args.rows * spans, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const float* x = args.x + item / spans * args.x_width;
      float* y = args.y + item / spans * args.y_stride;
      const int64_t first = item % spans * kSpan;
      const int64_t last = first + kSpan < args.width ? first + kSpan : args.width;
      for (int64_t i = first; i < last; ++i) {
        const int32_t from = args.order[i];
        y[i] = from < 0 ? 0.0f : x[from];
      }
    }
  });
}

}  // namespace cpu
}  // namespace octet::kernels
