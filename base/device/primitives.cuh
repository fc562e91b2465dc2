// The only door to the hardware of a GPU. A kernel (.cu, .cuh) may use, beyond C++:
//   threadIdx blockIdx blockDim gridDim, __syncthreads[_or|_count], __syncwarp,
//   __shfl[_xor|_up|_down]_sync,
//   __ballot_sync, __any_sync, __all_sync, __reduce_add/min/max_sync, integer
//   atomicAdd/Max/Min/Or/Exch/CAS,
//   __threadfence, __popc __ffs __clz __umulhi __float_as_uint __uint_as_float __float_as_int
//   __int_as_float __float2int_rn __int2float_rn, min max and the float functions of <cmath>,
//   dim3, uint2 uint4 int2 int4 float2 float4 (and make_*), and octet::hw below.
// nvcc sees intrinsics and inline PTX here, one instruction per function; a host compiler sees the
// emulator of tests/support/emulator, which runs the same source on fibers and checks it. Nothing
// else may use asm, <<<>>>, __ldg, __cvta or extern __shared__ (tests/support/check_kernels.py).
//
// Each file below states the shapes of its registers; lane = thread % 32, g = lane / 4, t = lane
// % 4. nvcc builds with -fmad=false: a multiply and an add are fused only where the source says
// fmaf, so that no two instances of a kernel can round differently.
#pragma once

#include <cstdint>

#include "base/device/stream.h"

#ifdef __CUDACC__
#include "base/device/primitives_async.cuh"   // copies that run on, barriers in memory, fences
#include "base/device/primitives_core.cuh"    // launch, shared memory, arithmetic, conversions
#include "base/device/primitives_matrix.cuh"  // ldmatrix, mma
#include "base/device/primitives_wgmma.cuh"   // warpgroup mma; only in files named *_sm90.cu
#else
#include "tests/support/emulator/emulator.h"
#endif

// A kernel's parameter that is indexed by a variable: `const OCTET_GRID_CONSTANT Struct s` is read
// where it lies, without it each thread first copies it to its stack.
#ifdef __CUDACC__
#define OCTET_GRID_CONSTANT __grid_constant__
#else
#define OCTET_GRID_CONSTANT
#endif

// OCTET_LAUNCH(kernel, grid, block, shared_bytes, stream, args...): the arguments are converted to
// the kernel's parameters and copied. shared_bytes is dynamic shared memory, see hw::SmemPlan.
#define OCTET_LAUNCH(...) ::octet::hw::Launch(__FILE__, __LINE__, __VA_ARGS__)
// The same for a kernel that calls hw::wait_for_past().
#define OCTET_LAUNCH_EARLY(...) ::octet::hw::LaunchEarly(__FILE__, __LINE__, __VA_ARGS__)
// The same, and the blocks of each row of the grid (x; at most 8, or 1 before sm_90) are a cluster:
// they run side by side, and have hw::cluster_sync().
#define OCTET_LAUNCH_CLUSTERS(...) ::octet::hw::LaunchClusters(__FILE__, __LINE__, __VA_ARGS__)

namespace octet::hw {

inline constexpr uint32_t kAllLanes = 0xFFFFFFFFu;

// How many bytes of dynamic shared memory a kernel takes: add() in the order of its Smem::take().
class SmemPlan {
 public:
  template <typename T>
  constexpr SmemPlan& add(int64_t count, int64_t alignment = 16) {
    bytes_ =
        (bytes_ + alignment - 1) / alignment * alignment + count * static_cast<int64_t>(sizeof(T));
    return *this;
  }
  constexpr int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_ = 0;
};

// Shared-memory matrix descriptor of wgmma: K-major tiles.
//   kNone: cores of 8 rows x 16 bytes, each 128 bytes long and dense; `leading_bytes` from one core
//          to the next along K, `stride_bytes` from one to the next along rows.
//   k128:  rows of 128 bytes, 8 of them a 1024-byte atom (aligned to 1024) in which the 16-byte
//          chunk c of row r lies at chunk c ^ (r % 8); `stride_bytes` (1024 when dense) from one
//          atom to the next along rows; leading_bytes is not used. Step along K by adding bytes to
//          the address.
enum class Swizzle : uint64_t { kNone = 0, k128 = 1 };
OCTET_DEVICE uint64_t smem_desc(const void* tile, uint32_t leading_bytes, uint32_t stride_bytes,
                                Swizzle swizzle) {
  return static_cast<uint64_t>((smem_addr(tile) & 0x3FFFFu) >> 4) |
         static_cast<uint64_t>((leading_bytes & 0x3FFFFu) >> 4) << 16 |
         static_cast<uint64_t>((stride_bytes & 0x3FFFFu) >> 4) << 32 |
         static_cast<uint64_t>(swizzle) << 62;
}
// That of the tile `bytes` further on, a multiple of 16: one addition of 64 bits, which needs no
// moves of the halves (uniform registers have an instruction for it).
OCTET_DEVICE uint64_t smem_desc_at(uint64_t desc, uint32_t bytes) { return desc + (bytes >> 4); }

}  // namespace octet::hw
