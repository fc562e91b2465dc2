// Copies, barriers, fences and memory words of octet::hw on the host.
#pragma once

#include <cstdint>

#include "base/device/tensor_map.h"
#include "tests/support/emulator/cuda_names.h"

namespace octet::hw {

using emulator::Place;

struct CachePolicy {
  uint64_t bits;
};
inline CachePolicy evict_first() { return {1}; }

// The offset in the block's arena.
uint32_t smem_addr(const void* shared, Place place = Place::current());

uint4 load16_once(const void* global, CachePolicy policy, Place place = Place::current());
void load16_ahead(uint4& to, const void* global, CachePolicy policy, bool wanted,
                  Place place = Place::current());
void load4_ahead(uint32_t& to, const void* global, CachePolicy policy, bool wanted,
                 Place place = Place::current());
void store16(void* global, uint4 value, Place place = Place::current());
void store8(void* global, uint2 value, Place place = Place::current());
uint32_t ld_acquire(const uint32_t* global, Place place = Place::current());
void red_release_add(uint32_t* global, uint32_t value, Place place = Place::current());
uint32_t atom_add_acq_rel(uint32_t* global, uint32_t value, Place place = Place::current());

void cluster_sync(Place place = Place::current());

void bar_sync(int barrier, int threads, Place place = Place::current());
void bar_arrive(int barrier, int threads, Place place = Place::current());

void cp_async16(void* shared, const void* global, bool full = true, Place place = Place::current());
void cp_async4(void* shared, const void* global, bool full = true, Place place = Place::current());
void cp_async_commit(Place place = Place::current());
void CpAsyncWait(int newest, const Place& place);
template <int kNewest>
void cp_async_wait(Place place = Place::current()) {
  static_assert(kNewest >= 0);
  CpAsyncWait(kNewest, place);
}

void mbar_init(uint64_t* barrier, uint32_t arrivals, Place place = Place::current());
inline void fence_mbar_init() {}
void mbar_arrive(uint64_t* barrier, Place place = Place::current());
void mbar_arrive_expect_tx(uint64_t* barrier, uint32_t bytes, Place place = Place::current());
void mbar_wait(uint64_t* barrier, uint32_t parity, Place place = Place::current());
void bulk_load(void* shared, const void* global, uint32_t bytes, uint64_t* barrier,
               Place place = Place::current());
void bulk_load(void* shared, const void* global, uint32_t bytes, uint64_t* barrier,
               CachePolicy policy, Place place = Place::current());
void bulk_prefetch(const void* global, uint32_t bytes, Place place = Place::current());
void tensor_load(void* shared, const TensorMap& map, int32_t input, int32_t row, uint64_t* barrier,
                 Place place = Place::current());
void tensor_prefetch(const TensorMap& map, Place place = Place::current());
void fence_proxy_async(Place place = Place::current());

template <int kRegisters>
void setmaxnreg_inc() {
  static_assert(kRegisters >= 24 && kRegisters <= 256 && kRegisters % 8 == 0);
}
template <int kRegisters>
void setmaxnreg_dec() {
  static_assert(kRegisters >= 24 && kRegisters <= 256 && kRegisters % 8 == 0);
}

}  // namespace octet::hw
