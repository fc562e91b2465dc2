#include "tests/base/device/planted_bugs.h"

#include "base/device/primitives.cuh"

namespace octet::planted {
namespace {

__global__ void BlockSumKernel(Bug bug, const uint32_t* in, int count, uint32_t* out) {
  hw::Smem shared;
  auto* values = shared.take<uint32_t>(64);
  auto* partial = shared.take<uint32_t>(2);
  OCTET_SHARED(uint32_t[4], spare);
  const int i = static_cast<int>(threadIdx.x);
  if (bug == Bug::kReturnBeforeBarrier && i >= 32) return;
  int limit = count;
  if (bug == Bug::kReadPastEnd) limit = count + 1;
  for (int begin = 0; begin < count; begin += 64) {
    if (i == 32) partial[0] = 0;
    values[bug == Bug::kSharedPartOverrun ? i + 1 : i] = begin + i < limit ? in[begin + i] : 0;
    if (bug != Bug::kNoBarrierBeforeRead) __syncthreads();
    // Each thread reads what the other warp wrote.
    uint32_t sum = values[i ^ 32];
    if (bug == Bug::kNeverWritten && i == 0) sum += spare[3];
    if (bug == Bug::kSharedIndex && i == 63) spare[i / 15] = sum;
    if (bug == Bug::kTwoWritersOfOneWord && i % 32 == 0) spare[0] = 1;
    if (bug == Bug::kHalfWarpInShuffle && i % 32 >= 16) {
      sum += 1;
    } else {
      for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(hw::kAllLanes, sum, step);
    }
    if (bug == Bug::kLanesLeaveBallot) {
      for (int k = i % 32; k < 40; k += 32) sum += __ballot_sync(hw::kAllLanes, false);
    }
    if (i % 32 == 0) partial[i / 32] = sum;
    if (bug == Bug::kBarrierCount) {
      hw::bar_sync(1, i < 32 ? 64 : 32);
    } else {
      __syncthreads();
    }
    const int last = bug == Bug::kWritePastEnd ? begin / 64 + 1 : begin / 64;
    if (i == 0) out[last] = partial[0] + partial[1];
    // The next round clears partial, which thread 0 may still read.
    if (bug != Bug::kNoBarrierBeforeOverwrite) __syncthreads();
  }
}

// One warp; tiles come by cp.async into two stages.
__global__ void TileProductKernel(Bug bug, const uint16_t* a, const uint16_t* b, int tiles,
                                  float* out) {
  hw::Smem shared;
  auto* stage_a = shared.take<uint16_t>(2 * 256, 128);
  auto* stage_b = shared.take<uint16_t>(2 * 128, 128);
  const int lane = static_cast<int>(threadIdx.x);
  const auto load = [&](int tile) {
    if (tile < tiles + (bug == Bug::kCopyPastEnd ? 1 : 0)) {
      hw::cp_async16(stage_a + tile % 2 * 256 + 8 * lane, a + tile * 256 + 8 * lane);
      if (lane < 16) hw::cp_async16(stage_b + tile % 2 * 128 + 8 * lane, b + tile * 128 + 8 * lane);
    }
    if (bug != Bug::kNoTailCommit || tile + 1 < tiles) hw::cp_async_commit();
  };
  float sums[4] = {0, 0, 0, 0};
  load(0);
  for (int tile = 0; tile < tiles; ++tile) {
    if (bug == Bug::kOverwriteInFlight) {
      load(tile);
    } else {
      load(tile + 1);
    }
    if (bug != Bug::kNoCopyWait) hw::cp_async_wait<1>();
    if (bug == Bug::kNoTailCommit && tile + 1 == tiles) hw::cp_async_wait<0>();
    if (bug != Bug::kNoWarpBarrier) __syncwarp();
    uint32_t fragment_a[4];
    uint32_t fragment_b[2];
    // Matrices in the order of the fragment: rows 0-7, 8-15 of columns 0-7, then of 8-15.
    hw::ldmatrix_x4(fragment_a, stage_a + tile % 2 * 256 + lane % 16 * 16 + lane / 16 * 8);
    hw::ldmatrix_x2(fragment_b, stage_b + tile % 2 * 128 + lane % 8 * 16 + lane / 8 % 2 * 8);
    hw::mma_m16n8k16_bf16(sums, fragment_a, fragment_b);
    __syncwarp();
  }
  hw::cp_async_wait<0>();
  const int g = lane / 4, t = bug == Bug::kWrongColumn ? lane % 4 ^ 1 : lane % 4;
  out[g * 8 + 2 * t] = sums[0];
  out[g * 8 + 2 * t + 1] = sums[1];
  out[(g + 8) * 8 + 2 * t] = sums[2];
  out[(g + 8) * 8 + 2 * t + 1] = sums[3];
}

// Warp 0 fills two stages, warps 1 and 2 read.
__global__ void RingKernel(Bug bug, const uint32_t* in, int rounds, uint32_t* out) {
  hw::Smem shared;
  auto* full = shared.take<uint64_t>(2);
  auto* empty = shared.take<uint64_t>(2);
  auto* stages = shared.take<uint32_t>(2 * 64, 128);
  const int i = static_cast<int>(threadIdx.x), warp = i / 32;
  if (i == 0) {
    for (int s = 0; s < 2; ++s) {
      if (bug != Bug::kNotInitialised || s == 0) hw::mbar_init(full + s, 1);
      hw::mbar_init(empty + s, 2);
    }
    hw::fence_mbar_init();
  }
  __syncthreads();
  uint32_t sum = 0;
  for (int round = 0; round < rounds; ++round) {
    const int s = round % 2;
    uint32_t parity = static_cast<uint32_t>(round / 2 % 2);
    if (i == 0) {
      if (bug != Bug::kNoWaitForEmpty) hw::mbar_wait(empty + s, parity ^ 1);
      hw::mbar_arrive_expect_tx(full + s, bug == Bug::kWrongBytes ? 512 : 256);
      hw::bulk_load(stages + 64 * s, in + 64 * round, 256, full + s);
    }
    if (warp > 0) {
      if (bug == Bug::kWrongParity) parity ^= 1;
      if (bug != Bug::kNoWaitForFull) hw::mbar_wait(full + s, parity);
      sum += stages[64 * s + i - 32];
      __syncwarp();
      if (i % 32 == 0) hw::mbar_arrive(empty + s);
      if (bug == Bug::kArriveTwice && i % 32 == 1) hw::mbar_arrive(empty + s);
    }
  }
  if (warp > 0) out[i - 32] = sum;
}

// A warpgroup multiplies, one more warp fills its two stages by ordinary stores.
__global__ void __launch_bounds__(160, 1)
    GroupProductKernel(Bug bug, const int8_t* a, const int8_t* b, int rounds, int32_t* out) {
  hw::Smem shared;
  auto* full = shared.take<uint64_t>(2);
  auto* empty = shared.take<uint64_t>(2);
  auto* stages = shared.take<int8_t>(2 * 512, 128);
  const int i = static_cast<int>(threadIdx.x);
  if (i == 0) {
    for (int s = 0; s < 2; ++s) {
      hw::mbar_init(full + s, 32);
      hw::mbar_init(empty + s, 1);
    }
  }
  __syncthreads();
  if (i >= 128) {
    const int lane = i - 128;
    for (int round = 0; round < rounds; ++round) {
      const int s = round % 2;
      if (bug != Bug::kTileOverwritten) hw::mbar_wait(empty + s, round / 2 % 2 ^ 1);
      // Row r of 32 bytes, as two cores of 16: lane 2r + c holds the chunk c.
      const int row = lane / 2, chunk = lane % 2;
      *reinterpret_cast<uint4*>(stages + 512 * s + row / 8 * 256 + chunk * 128 + row % 8 * 16) =
          *reinterpret_cast<const uint4*>(b + 512 * round + 16 * lane);
      if (bug != Bug::kNoProxyFence) hw::fence_proxy_async();
      hw::mbar_arrive(full + s);
    }
    return;
  }
  const int g = i % 32 / 4, t = i % 4, row = i / 32 * 16 + g;
  uint32_t fragment[4];
  for (int k = 0; k < 4; ++k)
    fragment[k] =
        *reinterpret_cast<const uint32_t*>(a + (row + 8 * (k % 2)) * 32 + 4 * t + 16 * (k / 2));
  int32_t sums[8] = {};
  for (int round = 0; round < rounds; ++round) {
    const int s = round % 2;
    hw::mbar_wait(full + s, round / 2 % 2);
    if (bug != Bug::kNoProductFence) hw::wgmma_fence();
    const uint32_t stride = bug == Bug::kWrongStride ? 128 : 256;
    hw::wgmma_s8s8<16>(sums, fragment,
                       hw::smem_desc(stages + 512 * s, 128, stride, hw::Swizzle::kNone), true);
    hw::wgmma_commit();
    if (bug == Bug::kRegistersChanged) fragment[0] += 1;
    if (bug == Bug::kAccumulatorsTouched) sums[3] += 1;
    if (bug == Bug::kReleasedBeforeWait && i == 0) hw::mbar_arrive(empty + s);
    if (bug != Bug::kNoProductWait) hw::wgmma_wait<0>();
    if (bug != Bug::kReleasedBeforeWait && i == 0) hw::mbar_arrive(empty + s);
  }
  for (int k = 0; k < 8; ++k)
    out[(row + 8 * (k / 2 % 2)) * 16 + 8 * (k / 4) + 2 * t + k % 2] = sums[k];
}

__global__ void BoxKernel(Bug bug, const OCTET_GRID_CONSTANT hw::TensorMap map, uint32_t* out) {
  hw::Smem shared;
  auto* box = shared.take<uint16_t>(40 * 64, 1024);
  auto* full = shared.take<uint64_t>(1);
  const auto i = static_cast<int>(threadIdx.x);
  if (bug == Bug::kBoxNotAligned) box += 64;
  if (i == 0) {
    hw::mbar_init(full, 1);
    hw::fence_mbar_init();
  }
  __syncthreads();
  if (i == 0) {
    hw::mbar_arrive_expect_tx(full, 32 * 128);
    hw::tensor_load(box, map, 0, 0, full);
  }
  if (bug != Bug::kNoWaitForBox) hw::mbar_wait(full, 0);
  uint32_t sum = 0;
  for (int row = 0; row < 32; ++row) sum += box[row * 64 + (i ^ row % 8 * 8)];
  out[i] = sum;
}

__global__ void SpinKernel(Bug bug, uint32_t* counter) {
  if (threadIdx.x != 0) return;
  if (blockIdx.x == 0) {
    while (hw::ld_acquire(counter) == 0) {
    }
  } else if (bug != Bug::kNeverReleased) {
    hw::red_release_add(counter, 1);
  }
}

__global__ void ClusterSumKernel(Bug bug, uint32_t* out) {
  hw::wait_for_past();
  uint32_t* row = out + blockIdx.y * gridDim.x;
  if (bug == Bug::kLeavesCluster && blockIdx.x == 1 && threadIdx.x == 5) return;
  if (threadIdx.x == 0) row[blockIdx.x] = blockIdx.x;
  if (bug != Bug::kNoClusterBarrier || blockIdx.x != 2) hw::cluster_sync();
  uint32_t sum = 0;
  for (uint32_t b = 0; b < gridDim.x; ++b) sum += row[b];
  hw::cluster_sync();
  if (threadIdx.x == 0) row[blockIdx.x] = sum;
}

__global__ void AheadKernel(const uint32_t* in, uint32_t* between) {
  hw::let_next_begin();
  between[threadIdx.x] = in[threadIdx.x] + 1;
}

// Reads `in`, which no kernel writes, before it may read `between`.
__global__ void EarlyKernel(Bug bug, const uint32_t* in, const uint32_t* between, uint32_t* out) {
  OCTET_SHARED(uint32_t[128], copied);
  const uint32_t thread = threadIdx.x;
  if (bug == Bug::kWritesBeforePast) out[thread] = 0;
  uint32_t past = 0;
  if (bug == Bug::kReadsBeforePast) past = between[thread];
  hw::cp_async16(copied + 4 * thread,
                 (bug == Bug::kCopiesBeforePast ? between : in) + thread / 4 * 4);
  hw::cp_async_commit();
  hw::cp_async_wait<0>();
  if (bug == Bug::kNeverWaitsForPast && thread == 9) return;
  hw::wait_for_past();
  if (bug != Bug::kReadsBeforePast) past = between[thread];
  const bool known = copied[4 * thread + thread % 4] + 1 == past;
  out[thread] = known ? past + 1 : 0;
}

}  // namespace

void BlockSum(Bug bug, const uint32_t* in, int count, uint32_t* out, Stream& stream) {
  int64_t bytes = hw::SmemPlan().add<uint32_t>(64).add<uint32_t>(2).bytes();
  if (bug == Bug::kTooMuchShared) bytes = 227 * 1024;
  if (bug == Bug::kTooMuchSharedForSm80) bytes = 164 * 1024;
  OCTET_LAUNCH(BlockSumKernel, 1, 64, bytes, stream, bug, in, count, out);
}
void TileProduct(Bug bug, const uint16_t* a, const uint16_t* b, int tiles, float* out,
                 Stream& stream) {
  const int64_t bytes = hw::SmemPlan().add<uint16_t>(512, 128).add<uint16_t>(256, 128).bytes();
  OCTET_LAUNCH(TileProductKernel, 1, 32, bytes, stream, bug, a, b, tiles, out);
}
void Ring(Bug bug, const uint32_t* in, int rounds, uint32_t* out, Stream& stream) {
  const int64_t bytes =
      hw::SmemPlan().add<uint64_t>(2).add<uint64_t>(2).add<uint32_t>(128, 128).bytes();
  OCTET_LAUNCH(RingKernel, 1, 96, bytes, stream, bug, in, rounds, out);
}
void GroupProduct(Bug bug, const int8_t* a, const int8_t* b, int rounds, int32_t* out,
                  Stream& stream) {
  const int64_t bytes =
      hw::SmemPlan().add<uint64_t>(2).add<uint64_t>(2).add<int8_t>(1024, 128).bytes();
  OCTET_LAUNCH(GroupProductKernel, 1, 160, bytes, stream, bug, a, b, rounds, out);
}
void Box(Bug bug, const uint16_t* in, uint32_t* out, Stream& stream) {
  const int64_t rows = bug == Bug::kMapPastEnd ? 34 : 32;
  const hw::TensorMap map = hw::MakeTensorMap(in + (rows - 32) * 64, rows, 64, 64, 32);
  const int64_t bytes = hw::SmemPlan().add<uint16_t>(40 * 64, 1024).add<uint64_t>(1).bytes();
  OCTET_LAUNCH(BoxKernel, 1, 64, bytes, stream, bug, map, out);
}
void Spin(Bug bug, uint32_t* counter, Stream& stream) {
  OCTET_LAUNCH(SpinKernel, 4, 32, 0, stream, bug, counter);
}
void ClusterSum(Bug bug, uint32_t* out, Stream& stream) {
  OCTET_LAUNCH_CLUSTERS(ClusterSumKernel, dim3(4, 2), 32, 0, stream, bug, out);
}
void Early(Bug bug, const uint32_t* in, uint32_t* between, uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(AheadKernel, 1, 32, 0, stream, in, between);
  OCTET_LAUNCH_EARLY(EarlyKernel, 1, 32, 0, stream, bug, in, between, out);
}

}  // namespace octet::planted
