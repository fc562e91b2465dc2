// SiluMul and Relu. Bytes moved an element: 8 read (4 by Relu), and 4, 2 or 1 (and 4 more for a
// plain y) written. Bits: the CPU's, which cost SiluMul about 40 instructions an element.
//
// f32 and bf16: elementwise, a thread takes kSteps runs of four (or one where rows are not
// aligned). int8: a block takes a leaf of a row, a warp one segment after another; what a lane has
// beyond its first run is computed twice.
#include "kernels/activation/activation.h"
#include "kernels/exact_math.h"
#include "kernels/linear/quantize_rows.cuh"
#include "kernels/rows.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kSteps = 2;
constexpr int kLeafWarps = 8;  // of a leaf of up to 1023 inputs, segments of 128 have one each

struct ActivateParams {
  const float* x;  // [rows, width], or [rows, 2 * width] with a gate: gate, then up
  float* y;        // [rows, width] or null
  int64_t rows;
  int64_t width;
  ActivationRows out;  // or empty
};

// The inputs of a run: what is gated, or of a plain MLP all there is, and the gate.
template <int kWidth, bool kGated>
struct Inputs {
  Floats<kWidth> gate;
  Floats<kWidth> up;

  OCTET_DEVICE void Load(const ActivateParams& p, int64_t row, int64_t index) {
    const float* at = p.x + row * (kGated ? 2 : 1) * p.width + index;
    if constexpr (kGated) gate = LoadFloats<kWidth>(at);
    up = LoadFloats<kWidth>(at + (kGated ? p.width : 0));
  }
  OCTET_DEVICE Floats<kWidth> Activated() const {
    Floats<kWidth> y = up;
    for (int k = 0; k < kWidth; ++k) {
      if constexpr (kGated) {
        y.v[k] = gate.v[k] / (1.0f + ExactExp(0.0f - gate.v[k])) * up.v[k];
      } else {
        y.v[k] = up.v[k] <= 0.0f ? 0.0f : up.v[k];
      }
    }
    return y;
  }
};

// Blocks: a row in x, kSteps * kThreads runs of it in y.
template <int kWidth, bool kGated>
__global__ void __launch_bounds__(kThreads) ActivateRows(const ActivateParams p) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int64_t row = blockIdx.x;
  const int64_t begin = (int64_t{blockIdx.y} * kSteps * kThreads + threadIdx.x) * kWidth;
  Inputs<kWidth, kGated> inputs[kSteps];
#pragma unroll
  for (int j = 0; j < kSteps; ++j) {
    const int64_t index = begin + j * kThreads * kWidth;
#if OCTET_PLANTED_BUG != 1
    if (index >= p.width) continue;
#endif
    inputs[j].Load(p, row, index);
  }
#pragma unroll
  for (int j = 0; j < kSteps; ++j) {
    const int64_t index = begin + j * kThreads * kWidth;
    if (index >= p.width) continue;
    const Floats<kWidth> y = inputs[j].Activated();
    if (p.y != nullptr) StoreFloats(p.y + row * p.width + index, y);
    if (p.out.values != nullptr) StoreActivations(p.out, row, index, y);
  }
}

// Blocks: a row in x, a leaf of it in y. Writes p.y too, where it is wanted.
template <bool kGated>
__global__ void __launch_bounds__(32 * kLeafWarps, 4)
    ActivateLeaves(const ActivateParams p, bool wide) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int64_t row = blockIdx.x;
  // Each value is asked for twice. The first run of a lane is kept; mostly there is no other.
  Floats<4> kept;
  int kept_at = -1;
  const auto leaf = static_cast<int32_t>(blockIdx.y);
  QuantizeLeaf<kLeafWarps>({p.out, row, wide}, leaf, [&]<int kWidth>(int index) {
    if constexpr (kWidth == 4) {
      if (index == kept_at) return kept;
    }
    Inputs<kWidth, kGated> inputs;
    inputs.Load(p, row, index);
    const Floats<kWidth> y = inputs.Activated();
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

template <bool kGated>
void LaunchActivate(const ActivateParams& p, Stream& stream) {
  const auto rows = static_cast<unsigned>(p.rows);
  const bool wide =
      p.width % 4 == 0 && IsAligned16(p.x) && IsAligned16(p.y) && IsAligned16(p.out.values);
  if (p.out.format == ActivationFormat::kInt8) {
    OCTET_LAUNCH_EARLY(ActivateLeaves<kGated>, dim3(rows, static_cast<unsigned>(p.out.leaves)),
                       dim3(32 * kLeafWarps), 0, stream, p, wide);
    return;
  }
  const int64_t per_block = int64_t{kThreads} * kSteps * (wide ? 4 : 1);
  const int64_t blocks = (p.width + per_block - 1) / per_block;
  OCTET_LAUNCH_EARLY((wide ? ActivateRows<4, kGated> : ActivateRows<1, kGated>),
                     dim3(rows, static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream, p);
}

}  // namespace

void SiluMul(const SiluMulArgs& args, Stream& stream) {
  LaunchActivate<true>({args.gate_up, args.y, args.rows, args.width, args.out}, stream);
}

void Relu(const ReluArgs& args, Stream& stream) {
  LaunchActivate<false>({args.x, args.y, args.rows, args.width, args.out}, stream);
}

}  // namespace octet::kernels::cuda
