// RopeAngles: reads 4 or 8 bytes a row, writes 8 * half; cos and sin in double as on the CPU,
// rounded once. The double is within 2 ulp, so its rounding differs from the CPU's about once in
// 2^28. Rope: a thread takes a run of pairs; reads and writes each rotated element once (8 bytes),
// cos and sin come from the caches for all heads but the first. Its bits are the CPU's.
#include "kernels/rope/rope.h"
#include "kernels/rope/rotate.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int kThreads = 128;

// Blocks: a row in x, a part of its items, one a thread, in y.
dim3 GridOf(int64_t rows, int64_t items) {
  return dim3(static_cast<unsigned>(rows),
              static_cast<unsigned>((items + kThreads - 1) / kThreads));
}

OCTET_DEVICE int ItemOfThread() {
  return static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
}

__global__ void __launch_bounds__(kThreads) Angles(const RopeAnglesArgs p) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int half = static_cast<int>(p.rotary_dim / 2);
  const int item = ItemOfThread();
  if (item >= half) return;
  const int64_t row = blockIdx.x;
  const int table = p.table_of_row == nullptr ? 0 : max(p.table_of_row[row], 0);
  const float frequency = p.inverse_frequency[int64_t{table} * half + item];
  const float angle = static_cast<float>(p.positions[row]) * frequency;
  const int64_t at = row * half + item;
  p.cos[at] = static_cast<float>(cos(static_cast<double>(angle))) * p.magnitude;
  p.sin[at] = static_cast<float>(sin(static_cast<double>(angle))) * p.magnitude;
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads) Rotate(const RopeArgs p) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int half = static_cast<int>(p.rotary_dim / 2);
  const int runs = half / kWidth;  // of one head
  const int item = ItemOfThread();
  if (item >= static_cast<int>(p.heads) * runs) return;
  const int index = item % runs * kWidth;
  const int64_t row = blockIdx.x;
  const RowAngles angles = {p.cos + row * half, p.sin + row * half, half};
  float* x = p.x + row * p.x_stride + item / runs * p.head_dim;
  const Floats<kWidth> low = LoadRotated<kWidth>(x, index, angles);
  const Floats<kWidth> high = LoadRotated<kWidth>(x, index + half, angles);
  StoreFloats(x + index, low);
  StoreFloats(x + index + half, high);
}

}  // namespace

void RopeAngles(const RopeAnglesArgs& args, Stream& stream) {
  OCTET_LAUNCH_EARLY(Angles, GridOf(args.rows, args.rotary_dim / 2), dim3(kThreads), 0, stream,
                     args);
}

void Rope(const RopeArgs& args, Stream& stream) {
  const int64_t half = args.rotary_dim / 2;
  const bool wide = half % 4 == 0 && args.head_dim % 4 == 0 && args.x_stride % 4 == 0 &&
                    IsAligned16(args.x) && IsAligned16(args.cos) && IsAligned16(args.sin);
  const dim3 grid = GridOf(args.rows, args.heads * (wide ? half / 4 : half));
  OCTET_LAUNCH_EARLY(wide ? Rotate<4> : Rotate<1>, grid, dim3(kThreads), 0, stream, args);
}

}  // namespace octet::kernels::cuda
