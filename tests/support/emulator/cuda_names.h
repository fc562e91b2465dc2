// What CUDA C++ gives a kernel without an include: qualifiers, vector types, built-in functions.
// The host's meaning of the list at the top of base/device/primitives.cuh, and nothing beyond it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "tests/support/emulator/runtime.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define OCTET_DEVICE inline __attribute__((always_inline))
#define OCTET_DEVICE_BODY inline __attribute__((noinline))
#define OCTET_HOST_DEVICE inline

#define threadIdx (::octet::emulator::ThreadIndex())
#define blockIdx (::octet::emulator::BlockIndex())
#define blockDim (::octet::emulator::BlockDim())
#define gridDim (::octet::emulator::GridDim())

struct alignas(8) int2 {
  int x, y;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_count = 1, unsigned y_count = 1, unsigned z_count = 1)  // NOLINT
      : x(x_count), y(y_count), z(z_count) {}
};
inline int2 make_int2(int x, int y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using std::max;
using std::min;

inline float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline float __int_as_float(int32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t __float_as_uint(float value) { return std::bit_cast<uint32_t>(value); }
inline int32_t __float_as_int(float value) { return std::bit_cast<int32_t>(value); }
inline int __popc(uint32_t bits) { return std::popcount(bits); }
inline int __clz(int32_t bits) { return std::countl_zero(static_cast<uint32_t>(bits)); }
inline int __ffs(int32_t bits) {
  return bits == 0 ? 0 : std::countr_zero(static_cast<uint32_t>(bits)) + 1;
}
inline uint32_t __umulhi(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(uint64_t{a} * b >> 32);
}
inline float __int2float_rn(int32_t value) { return static_cast<float>(value); }
inline int32_t __float2int_rn(float value) {  // out of range is clamped, NaN gives 0
  if (std::isnan(value)) return 0;
  if (value >= 0x1p31f) return INT32_MAX;
  if (value <= -0x1p31f) return INT32_MIN;
  return static_cast<int32_t>(std::nearbyint(value));
}
inline float rsqrtf(float value) { return 1.0f / std::sqrt(value); }

inline void __syncthreads(octet::emulator::Place place = octet::emulator::Place::current()) {
  octet::emulator::SyncThreads(place, 0);
}
inline int __syncthreads_count(int predicate,
                               octet::emulator::Place place = octet::emulator::Place::current()) {
  return octet::emulator::SyncThreads(place, predicate != 0);
}
inline int __syncthreads_or(int predicate,
                            octet::emulator::Place place = octet::emulator::Place::current()) {
  return octet::emulator::SyncThreads(place, predicate != 0) != 0;
}
inline void __syncwarp(uint32_t mask = 0xFFFFFFFFu,
                       octet::emulator::Place place = octet::emulator::Place::current()) {
  octet::emulator::SyncWarp(mask, place);
}
inline void __threadfence() {}

namespace octet::emulator {

template <typename T>
T ShuffleValue(Shuffle mode, uint32_t mask, T value, int argument, int width, const Place& place) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  return std::bit_cast<T>(static_cast<Bits>(
      ShuffleBits(mode, mask, std::bit_cast<Bits>(value), argument, width, place)));
}

}  // namespace octet::emulator

#define OCTET_EMULATED_SHUFFLE(name, mode)                                                      \
  template <typename T>                                                                         \
  T name(uint32_t mask, T value, int argument, int width = 32,                                  \
         octet::emulator::Place place = octet::emulator::Place::current()) {                    \
    return octet::emulator::ShuffleValue(octet::emulator::Shuffle::mode, mask, value, argument, \
                                         width, place);                                         \
  }
OCTET_EMULATED_SHUFFLE(__shfl_sync, kIndex)
OCTET_EMULATED_SHUFFLE(__shfl_up_sync, kUp)
OCTET_EMULATED_SHUFFLE(__shfl_down_sync, kDown)
OCTET_EMULATED_SHUFFLE(__shfl_xor_sync, kXor)
#undef OCTET_EMULATED_SHUFFLE

inline uint32_t __ballot_sync(uint32_t mask, int predicate,
                              octet::emulator::Place place = octet::emulator::Place::current()) {
  return octet::emulator::Ballot(mask, predicate != 0, place);
}
inline int __any_sync(uint32_t mask, int predicate,
                      octet::emulator::Place place = octet::emulator::Place::current()) {
  return octet::emulator::Ballot(mask, predicate != 0, place) != 0;
}
inline int __all_sync(uint32_t mask, int predicate,
                      octet::emulator::Place place = octet::emulator::Place::current()) {
  return octet::emulator::Ballot(mask, predicate == 0, place) == 0;
}
#define OCTET_EMULATED_REDUCE(name, kind)                                                  \
  inline uint32_t name(uint32_t mask, uint32_t value,                                      \
                       octet::emulator::Place place = octet::emulator::Place::current()) { \
    return static_cast<uint32_t>(                                                          \
        octet::emulator::Reduce(octet::emulator::Reduction::kind, mask, value, place));    \
  }                                                                                        \
  inline int32_t name(uint32_t mask, int32_t value,                                        \
                      octet::emulator::Place place = octet::emulator::Place::current()) {  \
    return static_cast<int32_t>(                                                           \
        octet::emulator::Reduce(octet::emulator::Reduction::kind, mask, value, place));    \
  }
OCTET_EMULATED_REDUCE(__reduce_add_sync, kAdd)
OCTET_EMULATED_REDUCE(__reduce_min_sync, kMin)
OCTET_EMULATED_REDUCE(__reduce_max_sync, kMax)
#undef OCTET_EMULATED_REDUCE

// Integers only: the order of float atomics is not ours to choose, so there are none.
#define OCTET_EMULATED_ATOMIC(name, expression)                                    \
  template <typename T>                                                            \
  T name(T* address, std::type_identity_t<T> value,                                \
         octet::emulator::Place place = octet::emulator::Place::current()) {       \
    static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned> ||         \
                  std::is_same_v<T, unsigned long long>);                          \
    return octet::emulator::Atomic(                                                \
        address, [value](T before) { return static_cast<T>(expression); }, place); \
  }
OCTET_EMULATED_ATOMIC(atomicAdd, static_cast<std::make_unsigned_t<T>>(before) + value)
OCTET_EMULATED_ATOMIC(atomicMax, std::max(before, value))
OCTET_EMULATED_ATOMIC(atomicMin, std::min(before, value))
OCTET_EMULATED_ATOMIC(atomicOr, before | value)
OCTET_EMULATED_ATOMIC(atomicAnd, before& value)
OCTET_EMULATED_ATOMIC(atomicExch, ((void)before, value))
#undef OCTET_EMULATED_ATOMIC
template <typename T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value,
            octet::emulator::Place place = octet::emulator::Place::current()) {
  return octet::emulator::Atomic(
      address, [=](T before) { return before == expected ? value : before; }, place);
}
