// GatherColumns: a thread a column, which reads its place once for kRows rows.
#include "base/device/primitives.cuh"
#include "kernels/gather/gather.h"

namespace octet::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int64_t kRows = 8;

__global__ void __launch_bounds__(kThreads) GatherColumnsKernel(const GatherColumnsArgs p) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int64_t column = int64_t{blockIdx.y} * kThreads + threadIdx.x;
#if OCTET_PLANTED_BUG != 1
  if (column >= p.width) return;
#endif
  const int32_t from = p.order[column];
  const int64_t first = int64_t{blockIdx.x} * kRows;
  const int64_t last = min(first + kRows, p.rows);
  for (int64_t row = first; row < last; ++row) {
    p.y[row * p.y_stride + column] = from < 0 ? 0.0f : p.x[row * p.x_width + from];
  }
}

}  // namespace

void GatherColumns(const GatherColumnsArgs& args, Stream& stream) {
  OCTET_LAUNCH_EARLY(GatherColumnsKernel,
                     dim3(static_cast<unsigned>((args.rows + kRows - 1) / kRows),
                          static_cast<unsigned>((args.width + kThreads - 1) / kThreads)),
                     dim3(kThreads), 0, stream, args);
}

}  // namespace octet::kernels::cuda
