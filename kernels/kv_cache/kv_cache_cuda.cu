// AppendKv and RopeAppendKv, one kernel: a vector (a head of q, k or v) belongs to 16 or 32
// neighbouring lanes, which hold it in registers. Bytes moved: keys and values are read (4 bytes an
// element) and written as they are cached (1, 1/2 or 2 bytes, and 4 bytes a pair of scale and
// zero); q is read and written (8 bytes). The partners of a rotation, cos and sin come from the
// caches.
//
// Bits: those of the CPU's Rope and AppendKv (a NaN in bf16 is the hardware's, 0x7fff).
#include "kernels/kv_cache/kv_cache.h"
#include "kernels/kv_cache/kv_vector.cuh"
#include "kernels/kv_cache/rope_append.h"
#include "kernels/rope/rotate.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int kThreads = 128;

struct AppendParams {
  KvFormat format;
  std::byte* cache;
  float* q;        // [rows, heads * head_dim] or null; rotated in place
  const float* k;  // [rows, kv_heads * head_dim]
  const float* v;  // same
  int64_t stride;  // of all three, elements
  const int64_t* slots;
  const uint16_t* static_pairs;  // [kv_heads, 2, 2] or null
  const float* guard;            // RopeAppendKvArgs::key_guard
  const float* cos;              // [rows, half]
  const float* sin;
  const float* query_scale;  // [rows] or null
  int32_t half;              // 0: nothing rotates
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
  // Of KvLayout.
  int64_t block_bytes;
  int64_t head_bytes;
  int64_t data_bytes;
  int64_t scale_bytes;
  int32_t vector_bytes;
  int32_t pair_bytes;  // of one vector
};

// Items of a row: its query heads, its key heads, its value heads.
OCTET_DEVICE KvPlace PlaceOf(const AppendParams& p, int64_t slot, int head, bool is_value) {
  const int64_t token = slot % kKvBlockTokens;
  std::byte* at = p.cache + slot / kKvBlockTokens * p.block_bytes + head * p.head_bytes;
  return {at + (is_value ? p.data_bytes : 0) + token * p.vector_bytes,
          at + 2 * p.data_bytes + (is_value ? p.scale_bytes : 0) + token * p.pair_bytes,
          p.static_pairs != nullptr ? p.static_pairs + 4 * head + (is_value ? 2 : 0) : nullptr};
}

// A query or key times its factor, a key less what is taken from it; `item` as of PlaceOf.
template <int kWidth>
OCTET_DEVICE void Guard(const AppendParams& p, int item, int index, Floats<kWidth>* a) {
  const int at = item * p.head_dim + index;
  if (item >= p.heads) {
    const Floats<kWidth> taken = LoadFloats<kWidth>(p.guard + at + p.kv_heads * p.head_dim);
    for (int k = 0; k < kWidth; ++k) a->v[k] -= taken.v[k];
  }
  const Floats<kWidth> factor = LoadFloats<kWidth>(p.guard + at);
  for (int k = 0; k < kWidth; ++k) a->v[k] *= factor.v[k];
}

template <int kWidth, int kLanes, int kRuns>
__global__ void __launch_bounds__(kThreads) Append(const AppendParams p) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int item = static_cast<int>(blockIdx.y * kThreads + threadIdx.x) / kLanes;
  const int64_t row = blockIdx.x;
  const bool exists = item < p.heads + 2 * p.kv_heads;
  const bool is_query = item < p.heads;
  const bool is_value = item >= p.heads + p.kv_heads;
  const int head = item - (is_query ? 0 : is_value ? p.heads + p.kv_heads : p.heads);
  const int64_t at = row * p.stride + int64_t{head} * p.head_dim;
  const float* x = (is_query ? p.q : is_value ? p.v : p.k) + at;
  const RowAngles angles = {p.cos + row * p.half, p.sin + row * p.half, is_value ? 0 : p.half};

  Floats<kWidth> a[kRuns];
#pragma unroll
  for (int j = 0; j < kRuns; ++j) {
    const int index = (j * kLanes + lane) * kWidth;
    if (!exists || index >= p.head_dim) continue;
    a[j] = LoadRotated<kWidth>(x, index, angles);
    if (p.guard != nullptr && !is_value) Guard(p, item, index, &a[j]);
  }
  const bool scaled = is_query && p.query_scale != nullptr;
  if (scaled) {
    const float scale = p.query_scale[row];
#pragma unroll
    for (int j = 0; j < kRuns; ++j) {
      for (int k = 0; k < kWidth; ++k) a[j].v[k] *= scale;
    }
  }
  const int64_t slot = p.slots[row];
  const bool live = exists && slot >= 0;
#if OCTET_PLANTED_BUG != 1
  __syncwarp();  // all partners of q are read
#endif
  const bool all_change = p.guard != nullptr || p.query_scale != nullptr;
  const int stored = all_change ? p.head_dim : 2 * p.half;  // of a query
  if (live && is_query) {
#pragma unroll
    for (int j = 0; j < kRuns; ++j) {
      const int index = (j * kLanes + lane) * kWidth;
      if (index < stored) StoreFloats(p.q + at + index, a[j]);
    }
  }
  const bool append = live && !is_query;
  if (!__any_sync(hw::kAllLanes, append)) return;
  StoreKvVector<kWidth, kLanes>(p.format, a, p.head_dim, append,
                                PlaceOf(p, append ? slot : 0, append ? head : 0, is_value));
}

template <int kWidth, int kLanes, int kRuns>
void LaunchAppend(const AppendParams& p, int64_t rows, Stream& stream) {
  const int64_t threads = (p.heads + 2 * p.kv_heads) * kLanes;
  const dim3 grid(static_cast<unsigned>(rows),
                  static_cast<unsigned>((threads + kThreads - 1) / kThreads));
  OCTET_LAUNCH_EARLY((Append<kWidth, kLanes, kRuns>), grid, dim3(kThreads), 0, stream, p);
}

void LaunchByShape(const AppendParams& p, int64_t rows, Stream& stream) {
  OCTET_CHECK_LE(p.head_dim, kHeadDimMax);
  bool wide = p.half % 4 == 0 && p.head_dim % 4 == 0 && p.stride % 4 == 0;
  for (const float* pointer : {static_cast<const float*>(p.q), p.k, p.v, p.cos, p.sin, p.guard}) {
    wide = wide && IsAligned16(pointer);
  }
  if (!wide) return LaunchAppend<1, 32, 8>(p, rows, stream);
  if (p.head_dim <= 64) return LaunchAppend<4, 16, 1>(p, rows, stream);
  if (p.head_dim <= 128) return LaunchAppend<4, 32, 1>(p, rows, stream);
  LaunchAppend<4, 32, 2>(p, rows, stream);
}

AppendParams ParamsOf(const KvLayout& layout) {
  AppendParams p = {};
  p.format = layout.format;
  p.kv_heads = static_cast<int32_t>(layout.kv_heads);
  p.head_dim = static_cast<int32_t>(layout.head_dim);
  p.block_bytes = layout.block_bytes();
  p.head_bytes = layout.head_bytes();
  p.data_bytes = layout.data_bytes();
  p.scale_bytes = layout.scale_bytes();
  p.vector_bytes = static_cast<int32_t>(layout.vector_bytes());
  p.pair_bytes = static_cast<int32_t>(layout.scale_groups() * 2 * 2);
  return p;
}

}  // namespace

void AppendKv(const AppendKvArgs& args, Stream& stream) {
  AppendParams p = ParamsOf(args.layout);
  p.cache = args.cache;
  p.k = args.k;
  p.v = args.v;
  p.stride = args.kv_stride;
  p.slots = args.slots;
  p.static_pairs = args.static_pairs;
  LaunchByShape(p, args.rows, stream);
}

void RopeAppendKv(const RopeAppendKvArgs& args, Stream& stream) {
  AppendParams p = ParamsOf(args.layout);
  p.cache = args.cache;
  p.q = args.qkv;
  p.k = args.qkv + args.heads * args.layout.head_dim;
  p.v = p.k + args.layout.kv_heads * args.layout.head_dim;
  p.stride = args.stride;
  p.slots = args.slots;
  p.static_pairs = args.static_pairs;
  p.guard = args.key_guard;
  p.cos = args.cos;
  p.sin = args.sin;
  p.query_scale = args.query_scale;
  p.half = static_cast<int32_t>(args.rotary_dim / 2);
  p.heads = static_cast<int32_t>(args.heads);
  LaunchByShape(p, args.rows, stream);
}

}  // namespace octet::kernels::cuda
