// SiluMul. Bytes moved an element: 8 read, and 4, 2 or 1 (and 4 more for a plain y) written. Bits:
// the CPU's, which cost about 40 instructions an element.
//
// f32 and bf16: elementwise, a thread takes kSteps runs of four (or one where rows are not
// aligned). int8: a warp takes a segment of a row; a segment longer than a warp holds is computed
// twice.
#include "kernels/activation/activation.h"
#include "kernels/exact_math.h"
#include "kernels/linear/quantize_rows.cuh"
#include "kernels/rows.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kSteps = 2;

template <int kWidth>
OCTET_DEVICE Floats<kWidth> Gated(const Floats<kWidth>& gate, Floats<kWidth> up) {
  for (int k = 0; k < kWidth; ++k) {
    up.v[k] = gate.v[k] / (1.0f + ExactExp(0.0f - gate.v[k])) * up.v[k];
  }
  return up;
}

// Blocks: a row in x, kSteps * kThreads runs of it in y.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) SiluMulRows(const SiluMulArgs p) {
  const int64_t row = blockIdx.x;
  const int64_t begin = (int64_t{blockIdx.y} * kSteps * kThreads + threadIdx.x) * kWidth;
  Floats<kWidth> gate[kSteps];
  Floats<kWidth> up[kSteps];
#pragma unroll
  for (int j = 0; j < kSteps; ++j) {
    const int64_t index = begin + j * kThreads * kWidth;
#if OCTET_PLANTED_BUG != 1
    if (index >= p.width) continue;
#endif
    gate[j] = LoadFloats<kWidth>(p.gate_up + row * 2 * p.width + index);
    up[j] = LoadFloats<kWidth>(p.gate_up + row * 2 * p.width + p.width + index);
  }
#pragma unroll
  for (int j = 0; j < kSteps; ++j) {
    const int64_t index = begin + j * kThreads * kWidth;
    if (index >= p.width) continue;
    const Floats<kWidth> y = Gated(gate[j], up[j]);
    if (p.y != nullptr) StoreFloats(p.y + row * p.width + index, y);
    if (p.out.values != nullptr) StoreActivations(p.out, row, index, y);
  }
}

// Blocks: a row in x, kThreads / 32 of its segments in y. Writes p.y too, where it is wanted.
__global__ void __launch_bounds__(kThreads, 8) SiluMulSegments(const SiluMulArgs p, bool wide) {
  const int64_t row = blockIdx.x;
  const int64_t segment = int64_t{blockIdx.y} * (kThreads / 32) + threadIdx.x / 32;
  if (segment >= p.out.segments) return;
  const float* gate = p.gate_up + row * 2 * p.width;
  // Each value is asked for twice. The first run of a lane is kept; segments of 128 have no other.
  Floats<4> kept;
  int kept_at = -1;
  QuantizeSegment(p.out, row, segment, wide, [&]<int kWidth>(int index) {
    if constexpr (kWidth == 4) {
      if (index == kept_at) return kept;
    }
    const Floats<kWidth> y =
        Gated(LoadFloats<kWidth>(gate + index), LoadFloats<kWidth>(gate + p.width + index));
    if (p.y != nullptr) StoreFloats(p.y + row * p.width + index, y);
    if constexpr (kWidth == 4) {
      if (kept_at < 0) {
        kept = y;
        kept_at = index;
      }
    }
    return y;
  });
}

template <int kWidth>
void LaunchRows(const SiluMulArgs& args, Stream& stream) {
  const int64_t per_block = int64_t{kThreads} * kSteps * kWidth;
  OCTET_LAUNCH(SiluMulRows<kWidth>,
               dim3(static_cast<unsigned>(args.rows),
                    static_cast<unsigned>((args.width + per_block - 1) / per_block)),
               dim3(kThreads), 0, stream, args);
}

}  // namespace

void SiluMul(const SiluMulArgs& args, Stream& stream) {
  const bool wide = args.width % 4 == 0 && IsAligned16(args.gate_up) && IsAligned16(args.y) &&
                    IsAligned16(args.out.values);
  if (args.out.format == ActivationFormat::kInt8) {
    const int64_t blocks = (args.out.segments + kThreads / 32 - 1) / (kThreads / 32);
    OCTET_LAUNCH(SiluMulSegments,
                 dim3(static_cast<unsigned>(args.rows), static_cast<unsigned>(blocks)),
                 dim3(kThreads), 0, stream, args, wide);
    return;
  }
  wide ? LaunchRows<4>(args, stream) : LaunchRows<1>(args, stream);
}

}  // namespace octet::kernels::cuda
