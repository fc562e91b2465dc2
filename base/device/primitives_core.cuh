// Device side of primitives.cuh, part 1: launch, shared memory, arithmetic, conversions.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "base/device/device_info.h"
#include "base/device/stream.h"

#define OCTET_DEVICE __device__ __forceinline__
// The same for what is long: the emulator compiles it once instead of wherever it is called.
#define OCTET_DEVICE_BODY __device__ __forceinline__
#define OCTET_HOST_DEVICE __host__ __device__ __forceinline__
// A variable in the static shared memory of a block: OCTET_SHARED(float[8], partial);
#define OCTET_SHARED(type, name) __shared__ __align__(16)::std::type_identity_t<type> name

namespace octet::hw {

// Ends the process with the place and the call when `error` is not cudaSuccess.
void CheckCuda(cudaError_t error, const char* call, const char* file, int line);
#define OCTET_CUDA_CHECK(call) ::octet::hw::CheckCuda((call), #call, __FILE__, __LINE__)

inline constexpr int64_t kSharedBytesUnasked = 48 * 1024;

// How a launch begins: after all work before it, or early; with blocks that are a cluster.
enum class LaunchKind { kPlain, kEarly, kEarlyClusters };

template <typename... Parameters, typename... Args>
void LaunchWith(LaunchKind kind, const char* file, int line, void (*kernel)(Parameters...),
                dim3 grid, dim3 block, int64_t shared_bytes, Stream& stream, Args&&... args) {
  static_assert(sizeof...(Parameters) == sizeof...(Args), "one argument for each parameter");
  // The static part, which counts too, is not known here: any dynamic part is asked for.
  if (shared_bytes > 0) {
    CheckCuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shared_bytes)),
              "cudaFuncSetAttribute", file, line);
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.stream = static_cast<cudaStream_t>(stream.handle());
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {grid.x, 1, 1};
  config.attrs = attributes;
  // Only kernels compiled for sm_90 wait for the past: elsewhere a launch waits for all before it.
  config.numAttrs = stream.info().has_wgmma() ? static_cast<unsigned>(kind) : 0;
  CheckCuda(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(args)...), "a launch", file,
            line);
}
template <typename... Args>
void Launch(const char* file, int line, Args&&... args) {
  LaunchWith(LaunchKind::kPlain, file, line, static_cast<Args&&>(args)...);
}
template <typename... Args>
void LaunchEarly(const char* file, int line, Args&&... args) {
  LaunchWith(LaunchKind::kEarly, file, line, static_cast<Args&&>(args)...);
}

template <typename... Args>
void LaunchClusters(const char* file, int line, Args&&... args) {
  LaunchWith(LaunchKind::kEarlyClusters, file, line, static_cast<Args&&>(args)...);
}

// The address of shared memory as the hardware counts it, from 0.
OCTET_DEVICE uint32_t smem_addr(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

extern __shared__ __align__(1024) unsigned char octet_dynamic_shared[];

// Hands out the dynamic shared memory of the launch, from its start. REQUIRES: every thread that
// uses one takes the same parts in the same order.
class Smem {
 public:
  template <typename T>
  OCTET_DEVICE T* take(int64_t count, int64_t alignment = 16) {
    const uint32_t begin = (taken_ + static_cast<uint32_t>(alignment) - 1) /
                           static_cast<uint32_t>(alignment) * static_cast<uint32_t>(alignment);
    taken_ = begin + static_cast<uint32_t>(count * static_cast<int64_t>(sizeof(T)));
    return reinterpret_cast<T*>(octet_dynamic_shared + begin);
  }

 private:
  uint32_t taken_ = 0;
};

// Named barriers 1..15 of a block (0 is __syncthreads); `threads` is a multiple of 32.
OCTET_DEVICE void bar_sync(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
OCTET_DEVICE void bar_arrive(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// Of a kernel launched early (sm_90; OCTET_LAUNCH_EARLY), whose blocks may start as soon as every
// block of the kernel before has called let_next_begin() or ended: before wait_for_past() it may
// touch only what no kernel before it writes or reads. All threads call it.
OCTET_DEVICE void wait_for_past() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
OCTET_DEVICE void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Of a kernel launched in clusters (sm_90; OCTET_LAUNCH_CLUSTERS): a barrier of all threads of all
// blocks of the cluster, which then see what any of them wrote before.
OCTET_DEVICE void cluster_sync() {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
#endif
}

// The other ways to talk to another block of the same launch: count, and spin until counted.
OCTET_DEVICE uint32_t ld_acquire(const uint32_t* global) {
  uint32_t value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(global) : "memory");
  return value;
}
OCTET_DEVICE void red_release_add(uint32_t* global, uint32_t value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(global), "r"(value) : "memory");
}
// Returns the value before; for "the last block to arrive does the rest".
OCTET_DEVICE uint32_t atom_add_acq_rel(uint32_t* global, uint32_t value) {
  uint32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(global), "r"(value)
               : "memory");
  return before;
}

// What L2 should do with bytes that are read once (weights).
struct CachePolicy {
  uint64_t bits;
};
OCTET_DEVICE CachePolicy evict_first() {
  CachePolicy policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy.bits));
  return policy;
}
// 16 bytes that no one writes during the launch and that L1 need not keep. REQUIRES: aligned to 16.
OCTET_DEVICE uint4 load16_once(const void* global, CachePolicy policy) {
  uint4 value;
  asm("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
      : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
      : "l"(global), "l"(policy.bits));
  return value;
}

// The same into registers that are read much later, and what is there stays where `wanted` is
// false. Loads of this kind keep their place among each other and the matrix instructions.
OCTET_DEVICE void load16_ahead(uint4& to, const void* global, CachePolicy policy, bool wanted) {
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.b32 wanted, %6, 0;\n"
      "@wanted ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;\n"
      "}"
      : "+r"(to.x), "+r"(to.y), "+r"(to.z), "+r"(to.w)
      : "l"(global), "l"(policy.bits), "r"(static_cast<uint32_t>(wanted)));
}
// 4 bytes.
OCTET_DEVICE void load4_ahead(uint32_t& to, const void* global, CachePolicy policy, bool wanted) {
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.b32 wanted, %3, 0;\n"
      "@wanted ld.global.nc.L1::no_allocate.L2::cache_hint.u32 %0, [%1], %2;\n"
      "}"
      : "+r"(to)
      : "l"(global), "l"(policy.bits), "r"(static_cast<uint32_t>(wanted)));
}

// 16 or 8 bytes to global memory in one access: a plain assignment of a uint4 is now and then cut
// into four. REQUIRES: aligned to as many bytes.
OCTET_DEVICE void store16(void* global, uint4 value) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(global), "r"(value.x), "r"(value.y),
               "r"(value.z), "r"(value.w)
               : "memory");
}
OCTET_DEVICE void store8(void* global, uint2 value) {
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(global), "r"(value.x), "r"(value.y)
               : "memory");
}

// x, of which the compiler knows no more: what is computed from it is computed where it stands, not
// ahead of a loop, where registers are too short to keep it.
OCTET_DEVICE int32_t computed_here(int32_t x) {
  asm volatile("" : "+r"(x));
  return x;
}

// A pointer into shared memory, of which the compiler knows no more than that: it keeps the address
// in a register, and does not work it out wherever it is needed.
template <typename T>
OCTET_DEVICE T* shared_here(T* shared) {
  uint32_t address = smem_addr(shared);
  asm volatile("" : "+r"(address));
  return static_cast<T*>(__cvta_shared_to_generic(address));
}

// Bit logic. kTable is f(0xF0, 0xCC, 0xAA) of the wanted f(a, b, c).
template <int kTable>
OCTET_DEVICE uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d;
  asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(d) : "r"(a), "r"(b), "r"(c), "n"(kTable));
  return d;
}
// Byte i of the result is byte (selector >> 4i) & 7 of b:a; with bit 3 of the nibble set, its sign
// spread over the byte.
OCTET_DEVICE uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
  uint32_t d;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(selector));
  return d;
}

// c + the sum of four products of bytes.
OCTET_DEVICE int32_t dp4a_s8s8(uint32_t a, uint32_t b, int32_t c) {
  int32_t d;
  asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
OCTET_DEVICE int32_t dp4a_u8s8(uint32_t a, uint32_t b, int32_t c) {
  int32_t d;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}

// 2^x to about 2 ulp, subnormal results 0; not the bits of exp2f.
OCTET_DEVICE float exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// log2(x) for x > 0, absolute error near 2^-22 around 1; not the bits of log2f.
OCTET_DEVICE float log2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Nearest integer, ties to even, clamped to the type; NaN gives 0.
OCTET_DEVICE int32_t round_to_s8(float x) {
  int32_t y;
  asm("cvt.rni.sat.s8.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
}
OCTET_DEVICE uint32_t round_to_u8(float x) {
  uint32_t y;
  asm("cvt.rni.sat.u8.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
}

// 16-bit floats are carried as their bits; pairs as one word, the first in the low half.
// Conversions round to nearest even.
OCTET_DEVICE uint16_t bf16(float x) {
  uint16_t y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
OCTET_DEVICE uint32_t bf16x2(float low, float high) {
  uint32_t y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}
OCTET_DEVICE float float_of_bf16(uint16_t x) {
  return __uint_as_float(static_cast<uint32_t>(x) << 16);
}
OCTET_DEVICE float2 floats_of_bf16x2(uint32_t x) {
  return make_float2(__uint_as_float(x << 16), __uint_as_float(x & 0xFFFF0000u));
}
OCTET_DEVICE uint16_t f16(float x) {
  uint16_t y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
OCTET_DEVICE uint32_t f16x2(float low, float high) {
  uint32_t y;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}
OCTET_DEVICE float float_of_f16(uint16_t x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
}
OCTET_DEVICE float2 floats_of_f16x2(uint32_t x) {
  return make_float2(float_of_f16(static_cast<uint16_t>(x)),
                     float_of_f16(static_cast<uint16_t>(x >> 16)));
}

// a * b + c of pairs, rounded once. Sums, differences and products are the same instruction, as
// sm_80 has no other for bf16: fma(a, 1, b), fma(b, -1, a), fma(a, b, -0).
OCTET_DEVICE uint32_t fma_bf16x2(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
OCTET_DEVICE uint32_t fma_f16x2(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
OCTET_DEVICE uint32_t sub_f16x2(uint32_t a, uint32_t b) {
  uint32_t d;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}

}  // namespace octet::hw
