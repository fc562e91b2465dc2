#include "base/device/primitives.cuh"
#include "tests/base/device/conformance.h"

namespace octet::conformance {
namespace {

__global__ void CoordinatesKernel(uint32_t* out) {
  const uint32_t block = blockIdx.x + gridDim.x * blockIdx.y;
  const uint32_t thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  uint32_t* mine = out + (block * 16 + thread) * 6;
  mine[0] = threadIdx.x;
  mine[1] = threadIdx.y;
  mine[2] = threadIdx.z;
  mine[3] = blockIdx.x;
  mine[4] = blockIdx.y;
  mine[5] = gridDim.x * 100 + gridDim.y * 10 + gridDim.z;
}

__global__ void ShufflesKernel(uint32_t* out) {
  const uint32_t lane = threadIdx.x;
  const uint32_t value = 100 + lane;
  out[lane] = __shfl_sync(hw::kAllLanes, value, 5);
  out[32 + lane] = __shfl_sync(hw::kAllLanes, value, 3, 8);
  out[64 + lane] = __shfl_up_sync(hw::kAllLanes, value, 3);
  out[96 + lane] = __shfl_down_sync(hw::kAllLanes, value, 5, 16);
  out[128 + lane] = __shfl_xor_sync(hw::kAllLanes, value, 9);
  const float half = __shfl_xor_sync(hw::kAllLanes, 0.5f * static_cast<float>(lane), 1);
  out[160 + lane] = __float_as_uint(half);
  const unsigned long long wide = (static_cast<unsigned long long>(lane) << 40) + 7;
  out[192 + lane] = static_cast<uint32_t>(__shfl_down_sync(hw::kAllLanes, wide, 1) >> 40);
  uint32_t some = 0;  // a part of the warp alone
  if (lane >= 16) some = __shfl_xor_sync(0xFFFF0000u, value, 1);
  out[224 + lane] = some;
}

__global__ void VotesKernel(uint32_t* out) {
  const uint32_t lane = threadIdx.x;
  out[lane] = __ballot_sync(hw::kAllLanes, lane % 3 == 0);
  out[32 + lane] = __any_sync(hw::kAllLanes, lane == 31) != 0;
  out[64 + lane] = __all_sync(hw::kAllLanes, lane != 31) != 0;
  out[96 + lane] = __reduce_add_sync(hw::kAllLanes, lane);
  out[128 + lane] = __reduce_min_sync(hw::kAllLanes, lane + 4);
  const int value = static_cast<int>(lane) - 40;
  out[160 + lane] = static_cast<uint32_t>(__reduce_max_sync(hw::kAllLanes, value));
  uint32_t even = 0;
  if (lane % 2 == 0) even = __ballot_sync(0x55555555u, lane < 8);
  out[192 + lane] = even;
  out[224 + lane] = static_cast<uint32_t>(__popc(lane) + 100 * __ffs(static_cast<int>(lane)) +
                                          10000 * __clz(static_cast<int>(lane)));
}

__global__ void BlockVotesKernel(uint32_t* out) {
  out[threadIdx.x] = static_cast<uint32_t>(__syncthreads_count(threadIdx.x % 5 == 0));
  out[64 + threadIdx.x] = __syncthreads_or(threadIdx.x == 63) != 0;
}

// Each half of the block shares by a buffer of its own kind.
__global__ void SharedSumsKernel(const uint32_t* in, uint32_t* out) {
  OCTET_SHARED(uint32_t[64], fixed);
  hw::Smem shared;
  auto* taken = shared.take<uint32_t>(64, 128);
  auto* second = shared.take<uint16_t>(32);
  const uint32_t i = threadIdx.x;
  fixed[i] = in[i];
  if (i < 32) second[i] = static_cast<uint16_t>(i);
  __syncthreads();
  taken[63 - i] = fixed[i] + fixed[i ^ 32] + second[i % 32];
  __syncthreads();
  out[i] = taken[i] + (hw::smem_addr(taken) % 128 == 0 ? 0 : 1000000);
}

// Warps 0 and 1 hand a value each to warp 2, by barriers of their own.
__global__ void NamedBarriersKernel(uint32_t* out) {
  OCTET_SHARED(uint32_t[64], box);
  const uint32_t i = threadIdx.x, warp = i / 32;
  if (warp < 2) {
    box[i] = 10 * i;
    hw::bar_arrive(static_cast<int>(1 + warp), 64);
    out[i] = i;
  } else {
    hw::bar_sync(1, 64);
    const uint32_t first = box[i % 32];
    hw::bar_sync(2, 64);
    out[i] = first + box[32 + i % 32];
  }
}

__global__ void AtomicsKernel(uint32_t* out) {
  const uint32_t i = threadIdx.x;
  atomicAdd(&out[0], i);
  atomicMax(&out[1], i);
  atomicOr(&out[2], 1u << i % 32);
  atomicMin(&out[3], 1000 - i);
  if (i == 7) atomicCAS(&out[4], 0u, 9u);
  if (i == 8) atomicCAS(&out[4], 1u, 5u);
  atomicExch(&out[5], 77u);
}

__global__ void GridBarrierKernel(uint32_t* counter, uint32_t* out) {
  if (threadIdx.x == 0) {
    out[blockIdx.x] = blockIdx.x + 1;
    hw::red_release_add(counter, 1);
    while (hw::ld_acquire(counter) < gridDim.x) {
    }
    // Everyone's word is there: a second round, for the sum.
    uint32_t sum = 0;
    for (uint32_t b = 0; b < gridDim.x; ++b) sum += out[b];
    hw::red_release_add(counter, 1);
    while (hw::ld_acquire(counter) < 2 * gridDim.x) {
    }
    out[blockIdx.x] = sum;
  }
}

__global__ void LastBlockKernel(uint32_t* counter, uint32_t* out) {
  if (threadIdx.x != 0) return;
  out[blockIdx.x] = 10 * (blockIdx.x + 1);
  if (hw::atom_add_acq_rel(counter, 1) + 1 != gridDim.x) return;
  uint32_t sum = 0;
  for (uint32_t b = 0; b < gridDim.x; ++b) sum += out[b];
  out[gridDim.x] = sum;
}

__global__ void BitLogicKernel(const uint32_t* in, uint32_t* out) {
  const uint32_t i = threadIdx.x;
  const uint32_t a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2];
  out[i] = hw::lop3<0xEA>(a, b, c);       // (a & b) | c
  out[64 + i] = hw::lop3<0x6A>(a, b, c);  // (a & b) ^ c
  out[128 + i] = hw::prmt(a, b, c);
  out[192 + i] = static_cast<uint32_t>(hw::dp4a_s8s8(a, b, static_cast<int32_t>(c)));
  out[256 + i] = static_cast<uint32_t>(hw::dp4a_u8s8(a, b, static_cast<int32_t>(c)));
  out[320 + i] = __umulhi(a, b);
}

__global__ void ConversionsKernel(const float* in, uint32_t* out) {
  const uint32_t i = threadIdx.x;
  const float x = in[i], y = in[63 - i];
  out[i] = hw::bf16x2(x, y);
  out[64 + i] = hw::f16x2(x, y);
  out[128 + i] = static_cast<uint32_t>(hw::round_to_s8(x));
  out[192 + i] = hw::round_to_u8(x);
  const float2 pair = hw::floats_of_bf16x2(hw::bf16x2(x, y));
  out[256 + i] = __float_as_uint(pair.x) ^ __float_as_uint(hw::float_of_bf16(hw::bf16(x)));
  const float2 halves = hw::floats_of_f16x2(hw::f16x2(x, y));
  out[320 + i] = __float_as_uint(halves.y) ^ __float_as_uint(hw::float_of_f16(hw::f16(y)));
  out[384 + i] = __float_as_uint(hw::exp2(x));
  out[448 + i] = static_cast<uint32_t>(__float2int_rn(x));
}

__global__ void PackedFmaKernel(const uint32_t* in, uint32_t* out) {
  const uint32_t i = threadIdx.x;
  const uint32_t a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2];
  out[i] = hw::fma_bf16x2(a, b, c);
  out[64 + i] = hw::fma_f16x2(a, b, c);
  out[128 + i] = hw::sub_f16x2(a, b);
}

__global__ void WideAccessesKernel(const uint32_t* in, uint32_t* out) {
  const uint32_t i = threadIdx.x;
  const uint4 a = hw::load16_once(in + 4 * i, hw::evict_first());
  hw::store16(out + 4 * i, make_uint4(a.w, a.z, a.y, a.x));
  hw::store8(out + 256 + 2 * i, make_uint2(a.z, a.x));
  uint4 ahead = make_uint4(1, 2, 3, 4);
  hw::load16_ahead(ahead, in + 4 * i, hw::evict_first(), i % 2 == 0);
  hw::store16(out + 384 + 4 * i, ahead);
  uint32_t word = 5;
  hw::load4_ahead(word, in + 4 * i + 1, hw::evict_first(), i % 2 == 1);
  out[640 + i] = word;
}

__global__ void AddAmountKernel(const uint32_t* amount, uint32_t* data) {
  data[threadIdx.x] += *amount;
}

}  // namespace

void AddAmount(const uint32_t* amount, uint32_t* data, Stream& stream) {
  OCTET_LAUNCH(AddAmountKernel, 1, 64, 0, stream, amount, data);
}
void Coordinates(uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(CoordinatesKernel, dim3(2, 3), dim3(4, 2, 2), 0, stream, out);
}
void Shuffles(uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(ShufflesKernel, 1, 32, 0, stream, out);
}
void Votes(uint32_t* out, Stream& stream) { OCTET_LAUNCH(VotesKernel, 1, 32, 0, stream, out); }
void BlockVotes(uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(BlockVotesKernel, 1, 64, 0, stream, out);
}
void SharedSums(const uint32_t* in, uint32_t* out, Stream& stream) {
  const int64_t bytes = hw::SmemPlan().add<uint32_t>(64, 128).add<uint16_t>(32).bytes();
  OCTET_LAUNCH(SharedSumsKernel, 1, 64, bytes, stream, in, out);
}
void NamedBarriers(uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(NamedBarriersKernel, 1, 96, 0, stream, out);
}
void Atomics(uint32_t* out, Stream& stream) { OCTET_LAUNCH(AtomicsKernel, 1, 64, 0, stream, out); }
void GridBarrier(uint32_t* counter, uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(GridBarrierKernel, 4, 32, 0, stream, counter, out);
}
void LastBlock(uint32_t* counter, uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(LastBlockKernel, 4, 32, 0, stream, counter, out);
}
void BitLogic(const uint32_t* in, uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(BitLogicKernel, 1, 64, 0, stream, in, out);
}
void Conversions(const float* in, uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(ConversionsKernel, 1, 64, 0, stream, in, out);
}
void PackedFma(const uint32_t* in, uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(PackedFmaKernel, 1, 64, 0, stream, in, out);
}
void WideAccesses(const uint32_t* in, uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(WideAccessesKernel, 1, 64, 0, stream, in, out);
}

}  // namespace octet::conformance
