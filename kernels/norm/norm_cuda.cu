// Norm and AddNorm, one kernel: the registers of its threads hold a row of up to 16384, so
// that memory is read once. Bytes moved: 4 read and 4, 2 or 1 (and 4 more for a plain y) written an
// element; the add reads and writes 4 more; the weight stays in L2.
//
// The order of a row's sum follows from `hidden` alone: thread t of T adds the squares of its
// vectors t, t + T, ... with fmaf, the lanes of a warp are added by the butterfly of SumOfLanes, so
// are the warps. A layer norm does that twice: for the mean, then for the squares of what is off
// it. Division and root are IEEE. Rows of a block share nothing but the barrier.
#include <algorithm>

#include "kernels/linear/quantize_rows.cuh"
#include "kernels/norm/norm.h"
#include "kernels/rows.cuh"

namespace octet::kernels::cuda {
namespace {

struct NormParams {
  const float* x;           // [rows, hidden]; of the add: null
  float* residual;          // [rows, hidden]; of the norm alone: null
  const float* delta;       // [rows, hidden]
  const float* delta_bias;  // [hidden] or null
  const float* weight;      // [hidden]
  const float* bias;        // [hidden] or null; of a layer norm
  float* y;                 // [rows, hidden] or null
  ActivationRows out;       // or empty
  int64_t rows;
  int32_t hidden;
  float inverse_hidden;
  float eps;
  int32_t row_threads;  // threads of one row, a multiple of 32
  int32_t block_rows;
};

constexpr int kRowThreadsMax = 512;
constexpr int kWarpsMax = kRowThreadsMax / 32;
constexpr int kBatch = 4;

// Adds what the threads of each row hold; every thread of the block calls it.
OCTET_DEVICE float SumOfRow(float sum, float* warp_sums, int row_threads) {
  sum = SumOfLanes(sum);
  if (row_threads == 32) return sum;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int row_warps = row_threads / 32;
  if (lane == 0) warp_sums[warp] = sum;
#if OCTET_PLANTED_BUG != 1
  __syncthreads();
#endif
  return SumOfLanes(lane < row_warps ? warp_sums[warp / row_warps * row_warps + lane] : 0.0f);
}

// kBatch runs of a row, as one thread has them: run j starts at first + j * step. All loads of a
// batch come before its first store, so that they are on their way together.
template <int kWidth>
struct Batch {
  Floats<kWidth> run[kBatch];

  OCTET_DEVICE void Load(const float* row, int first, int step, int end) {
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      if (first + j * step < end) run[j] = LoadFloats<kWidth>(row + first + j * step);
    }
  }
  OCTET_DEVICE void Store(float* row, int first, int step, int end) const {
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      if (first + j * step < end) StoreFloats(row + first + j * step, run[j]);
    }
  }
  OCTET_DEVICE void Add(const Batch& other) {
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      for (int k = 0; k < kWidth; ++k) run[j].v[k] += other.run[j].v[k];
    }
  }
  OCTET_DEVICE float AddValues(float sum, int first, int step, int end) const {
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      if (first + j * step >= end) continue;
      for (int k = 0; k < kWidth; ++k) sum += run[j].v[k];
    }
    return sum;
  }
  OCTET_DEVICE float AddSquares(float sum, float mean, int first, int step, int end) const {
#pragma unroll
    for (int j = 0; j < kBatch; ++j) {
      if (first + j * step >= end) continue;
      for (int k = 0; k < kWidth; ++k) {
        const float off = run[j].v[k] - mean;  // of an RMS norm the value itself: mean is 0
        sum = fmaf(off, off, sum);
      }
    }
    return sum;
  }
};

// The row's normed values lie in shared memory: each warp of the row takes whole leaves.
OCTET_DEVICE void QuantizeLeaves(const NormParams& p, const float* shared_row, int64_t row,
                                 int thread) {
  for (int leaf = thread / 32; leaf < p.out.leaves; leaf += p.row_threads / 32) {
    QuantizeLeaf<1>({p.out, row, p.hidden % 4 == 0}, leaf,
                    [&]<int kWidth>(int index) { return LoadFloats<kWidth>(shared_row + index); });
  }
}

// (x - mean) * inverse * weight + bias, wherever it is wanted.
template <int kWidth, bool kCentered>
OCTET_DEVICE void StoreNormed(const NormParams& p, int64_t row, float mean, float inverse,
                              Batch<kWidth>& x, const Batch<kWidth>& weight, int first, int step,
                              int end, float* shared_row) {
#pragma unroll
  for (int j = 0; j < kBatch; ++j) {
    const int index = first + j * step;
    if (index >= end) continue;
    Floats<kWidth>& y = x.run[j];
    for (int k = 0; k < kWidth; ++k) {
      y.v[k] = (kCentered ? y.v[k] - mean : y.v[k]) * inverse * weight.run[j].v[k];
    }
    if (kCentered && p.bias != nullptr) {  // a run at a time: a batch would not fit the registers
      const Floats<kWidth> bias = LoadFloats<kWidth>(p.bias + index);
      for (int k = 0; k < kWidth; ++k) y.v[k] += bias.v[k];
    }
    if (p.y != nullptr) StoreFloats(p.y + row * p.hidden + index, y);
    if (shared_row != nullptr) {
      StoreShared(shared_row + index, y);
    } else if (p.out.values != nullptr) {
      StoreActivations(p.out, row, index, y);
    }
  }
}

// Block: block_rows * row_threads threads; row r of the block belongs to a run of whole warps.
// Dynamic shared memory: for int8 [block_rows, hidden] f32, else none.
//
// kHeld batches of a row stay in registers from the sum to the result; 0: there are more than that,
// and the result reads x (or the residual) again. Two leave room for one block
// of a multiprocessor, which ptxas has to be told: aiming at two it spills.
template <int kWidth, int kHeld, bool kAdd, bool kCentered>
__global__ void __launch_bounds__(kRowThreadsMax, kHeld == 2 ? 1 : 0) NormRows(const NormParams p) {
  hw::let_next_begin();
  hw::wait_for_past();
  OCTET_SHARED(float[kWarpsMax], warp_sums);
  OCTET_SHARED(float[kWarpsMax], warp_values);
  const int thread = static_cast<int>(threadIdx.x) % p.row_threads;
  const int block_row = static_cast<int>(threadIdx.x) / p.row_threads;
  const int64_t row = int64_t{blockIdx.x} * p.block_rows + block_row;
  const int end = row < p.rows ? p.hidden : 0;  // a row beyond the last takes part in barriers only
  const int first = thread * kWidth;
  const int step = p.row_threads * kWidth;
  const int batches = kHeld > 0 ? kHeld : (p.hidden + kBatch * step - 1) / (kBatch * step);
  const int64_t at = row * p.hidden;

  Batch<kWidth> held[kHeld > 0 ? kHeld : 1];
  float sum = 0;
#pragma unroll(kHeld > 0 ? kHeld : 1)
  for (int b = 0; b < batches; ++b) {
    Batch<kWidth>& x = held[kHeld > 0 ? b : 0];
    const int begin = first + b * kBatch * step;
    if constexpr (kAdd) {
      Batch<kWidth> delta;
      x.Load(p.residual + at, begin, step, end);
      delta.Load(p.delta + at, begin, step, end);
      x.Add(delta);
      if (p.delta_bias != nullptr) {
        delta.Load(p.delta_bias, begin, step, end);
        x.Add(delta);
      }
      x.Store(p.residual + at, begin, step, end);
    } else {
      x.Load(p.x + at, begin, step, end);
    }
    sum =
        kCentered ? x.AddValues(sum, begin, step, end) : x.AddSquares(sum, 0.0f, begin, step, end);
  }
  float mean = 0;
  if constexpr (kCentered) {
    mean = SumOfRow(sum, warp_values, p.row_threads) * p.inverse_hidden;
    sum = 0;
#pragma unroll(kHeld > 0 ? kHeld : 1)
    for (int b = 0; b < batches; ++b) {
      Batch<kWidth>& x = held[kHeld > 0 ? b : 0];
      const int begin = first + b * kBatch * step;
      if constexpr (kHeld == 0) x.Load((kAdd ? p.residual : p.x) + at, begin, step, end);
      sum = x.AddSquares(sum, mean, begin, step, end);
    }
  }
  Batch<kWidth> weight;
  // On its way while the row is added up, where registers are left for it.
  constexpr bool kEarly = !(kCentered && kHeld == 0);
  if constexpr (kEarly) weight.Load(p.weight, first, step, end);
  sum = SumOfRow(sum, warp_sums, p.row_threads);
  const float inverse = 1.0f / sqrtf(sum * p.inverse_hidden + p.eps);

  float* shared_row = nullptr;
  if (p.out.format == ActivationFormat::kInt8) {
    hw::Smem shared;
    shared_row = shared.take<float>(int64_t{p.block_rows} * p.hidden) + block_row * p.hidden;
  }
#pragma unroll(kHeld > 0 ? kHeld : 1)
  for (int b = 0; b < batches; ++b) {
    Batch<kWidth>& x = held[kHeld > 0 ? b : 0];
    const int begin = first + b * kBatch * step;
    if (b > 0 || !kEarly) weight.Load(p.weight, begin, step, end);
    if constexpr (kHeld == 0) x.Load((kAdd ? p.residual : p.x) + at, begin, step, end);
    StoreNormed<kWidth, kCentered>(p, row, mean, inverse, x, weight, begin, step, end, shared_row);
  }
  if (p.out.format == ActivationFormat::kInt8) {
    __syncthreads();
    if (end > 0) QuantizeLeaves(p, shared_row, row, thread);
  }
}

template <int kWidth, int kHeld, bool kAdd, bool kCentered>
void LaunchNorm(NormParams p, Stream& stream) {
  constexpr int kWarpRuns = 32 * kBatch * (kHeld > 0 ? kHeld : 1);
  const int runs = (p.hidden + kWidth - 1) / kWidth;
  const int warps = std::min((runs + kWarpRuns - 1) / kWarpRuns, kWarpsMax);
  p.inverse_hidden = 1.0f / static_cast<float>(p.hidden);
  p.row_threads = 32 * warps;
  p.block_rows = std::max(1, 4 / warps);
  const int64_t blocks = (p.rows + p.block_rows - 1) / p.block_rows;
  hw::SmemPlan shared;
  if (p.out.format == ActivationFormat::kInt8) {
    shared.add<float>(int64_t{p.block_rows} * p.hidden);
  }
  OCTET_LAUNCH_EARLY(
      (NormRows<kWidth, kHeld, kAdd, kCentered>), dim3(static_cast<unsigned>(blocks)),
      dim3(static_cast<unsigned>(p.row_threads * p.block_rows)), shared.bytes(), stream, p);
}

template <bool kAdd, bool kCentered>
void LaunchByShape(const NormParams& p, Stream& stream) {
  for (const void* pointer :
       {static_cast<const void*>(p.x), static_cast<const void*>(p.residual),
        static_cast<const void*>(p.delta), static_cast<const void*>(p.delta_bias),
        static_cast<const void*>(p.weight), static_cast<const void*>(p.bias),
        static_cast<const void*>(p.y), static_cast<const void*>(p.out.values)}) {
    OCTET_CHECK(IsAligned16(pointer));
  }
  if (p.hidden % 4 != 0) return LaunchNorm<1, 0, kAdd, kCentered>(p, stream);
  constexpr int kBatchFloats = kRowThreadsMax * kBatch * 4;
  if (p.hidden <= kBatchFloats) return LaunchNorm<4, 1, kAdd, kCentered>(p, stream);
  if (p.hidden <= 2 * kBatchFloats) return LaunchNorm<4, 2, kAdd, kCentered>(p, stream);
  LaunchNorm<4, 0, kAdd, kCentered>(p, stream);
}

template <bool kAdd>
void LaunchByKind(const NormParams& p, bool centered, Stream& stream) {
  centered ? LaunchByShape<kAdd, true>(p, stream) : LaunchByShape<kAdd, false>(p, stream);
}

}  // namespace

void Norm(const NormArgs& args, Stream& stream) {
  LaunchByKind<false>({.x = args.x,
                       .weight = args.weight,
                       .bias = args.bias,
                       .y = args.y,
                       .out = args.out,
                       .rows = args.rows,
                       .hidden = static_cast<int32_t>(args.hidden),
                       .eps = args.eps},
                      args.centered, stream);
}

void AddNorm(const AddNormArgs& args, Stream& stream) {
  LaunchByKind<true>({.residual = args.residual,
                      .delta = args.delta,
                      .delta_bias = args.delta_bias,
                      .weight = args.weight,
                      .bias = args.bias,
                      .y = args.y,
                      .out = args.out,
                      .rows = args.rows,
                      .hidden = static_cast<int32_t>(args.hidden),
                      .eps = args.eps},
                     args.centered, stream);
}

}  // namespace octet::kernels::cuda
