// Embedding: blocks take parts of a row, a thread kSteps runs of neighbours. Bytes moved: an
// element is read once (2 or 4 bytes; none where the token is held elsewhere) and written once (4).
// Bits: the CPU's; widening is exact.
#include "kernels/embedding/embedding.h"
#include "kernels/rows.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kSteps = 2;

// Elements [index, index + kWidth) of a table's row.
template <int kWidth>
OCTET_DEVICE Floats<kWidth> LoadElements(DType dtype, const std::byte* row, int64_t index) {
  if (dtype == DType::kF32) return LoadFloats<kWidth>(reinterpret_cast<const float*>(row) + index);
  const uint16_t* from = reinterpret_cast<const uint16_t*>(row) + index;
  const bool is_bf16 = dtype == DType::kBF16;
  if constexpr (kWidth == 4) {
    const uint2 pairs = *reinterpret_cast<const uint2*>(from);
    const float2 a = is_bf16 ? hw::floats_of_bf16x2(pairs.x) : hw::floats_of_f16x2(pairs.x);
    const float2 b = is_bf16 ? hw::floats_of_bf16x2(pairs.y) : hw::floats_of_f16x2(pairs.y);
    return {{a.x, a.y, b.x, b.y}};
  } else {
    return {{is_bf16 ? hw::float_of_bf16(*from) : hw::float_of_f16(*from)}};
  }
}

// Blocks: a row in x, kSteps * kThreads runs of it in y.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) LookUp(const EmbeddingArgs p, int element_bytes) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int64_t row = blockIdx.x;
  const int64_t begin = (int64_t{blockIdx.y} * kSteps * kThreads + threadIdx.x) * kWidth;
  const int32_t token = p.tokens[row];
  const bool held = token >= p.token_begin && token < p.token_end;
  const std::byte* from = p.table + (held ? token - p.token_begin : 0) * p.hidden * element_bytes;
  Floats<kWidth> a[kSteps] = {};
#pragma unroll
  for (int j = 0; j < kSteps; ++j) {
    const int64_t index = begin + j * kThreads * kWidth;
    if (held && index < p.hidden) a[j] = LoadElements<kWidth>(p.dtype, from, index);
  }
#pragma unroll
  for (int j = 0; j < kSteps; ++j) {
    const int64_t index = begin + j * kThreads * kWidth;
#if OCTET_PLANTED_BUG != 1
    if (index >= p.hidden) continue;
#endif
    for (int k = 0; k < kWidth; ++k) a[j].v[k] += 0.0f;
    StoreFloats(p.out + row * p.hidden + index, a[j]);
  }
}

// Blocks: a row in x, kThreads runs of it in y.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) AddRows(const AddPositionsArgs p, int element_bytes) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int64_t row = blockIdx.x;
  const int64_t index = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kWidth;
  if (index >= p.hidden) return;
  const int64_t at = p.positions[row] + p.offset;
  const Floats<kWidth> a =
      LoadElements<kWidth>(p.dtype, p.table + at * p.hidden * element_bytes, index);
  float* const x = p.x + row * p.hidden + index;
  Floats<kWidth> sum = LoadFloats<kWidth>(x);
  for (int k = 0; k < kWidth; ++k) sum.v[k] += a.v[k];
  StoreFloats(x, sum);
}

}  // namespace

void AddPositions(const AddPositionsArgs& args, Stream& stream) {
  const bool wide = args.hidden % 4 == 0 && IsAligned16(args.table) && IsAligned16(args.x);
  const int64_t per_block = int64_t{kThreads} * (wide ? 4 : 1);
  const dim3 grid(static_cast<unsigned>(args.rows),
                  static_cast<unsigned>((args.hidden + per_block - 1) / per_block));
  OCTET_LAUNCH_EARLY(wide ? AddRows<4> : AddRows<1>, grid, dim3(kThreads), 0, stream, args,
                     static_cast<int>(DTypeBytes(args.dtype)));
}

void Embedding(const EmbeddingArgs& args, Stream& stream) {
  const bool wide = args.hidden % 4 == 0 && IsAligned16(args.table) && IsAligned16(args.out);
  const int64_t per_block = int64_t{kThreads} * kSteps * (wide ? 4 : 1);
  const dim3 grid(static_cast<unsigned>(args.rows),
                  static_cast<unsigned>((args.hidden + per_block - 1) / per_block));
  OCTET_LAUNCH_EARLY(wide ? LookUp<4> : LookUp<1>, grid, dim3(kThreads), 0, stream, args,
                     static_cast<int>(DTypeBytes(args.dtype)));
}

}  // namespace octet::kernels::cuda
