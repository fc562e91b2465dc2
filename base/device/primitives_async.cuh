// Device side of primitives.cuh, part 2: copies that run on beside the threads, barriers in shared
// memory, fences. Shared addresses come from pointers; all are aligned to the size copied.
#pragma once

#include "base/device/primitives_core.cuh"
#include "base/device/tensor_map.h"

namespace octet::hw {

// Ampere copies: global to shared, 16 bytes (past L1) or 4. full == false writes zeros and does not
// read `global`, which must still be a valid address. There is no form with a cache policy: in a
// loop of linear8_mma.cuh nvcc 13.0 made an illegal instruction of it (H100, 2026-11-26).
OCTET_DEVICE void cp_async16(void* shared, const void* global, bool full = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(smem_addr(shared)),
               "l"(global), "r"(full ? 16 : 0)
               : "memory");
}
OCTET_DEVICE void cp_async4(void* shared, const void* global, bool full = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(smem_addr(shared)), "l"(global),
               "r"(full ? 4 : 0)
               : "memory");
}
OCTET_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most kNewest of this thread's groups are still under way. Other threads see the
// bytes after a barrier.
template <int kNewest>
OCTET_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kNewest) : "memory");
}

// Barriers in shared memory, aligned to 8 (sm_90). A phase ends when `arrivals` threads have
// arrived and all bytes expected in it have come.
OCTET_DEVICE void mbar_init(uint64_t* barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(smem_addr(barrier)), "r"(arrivals)
               : "memory");
}
// Makes mbar_init visible to the copies that report to the barrier; then __syncthreads.
OCTET_DEVICE void fence_mbar_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
OCTET_DEVICE void mbar_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(smem_addr(barrier)) : "memory");
}
OCTET_DEVICE void mbar_arrive_expect_tx(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(smem_addr(barrier)),
               "r"(bytes)
               : "memory");
}
// Returns when the phase of that parity has ended: 0 for the first phase, then 1, 0, ...
OCTET_DEVICE void mbar_wait(uint64_t* barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra finished;\n"
      "bra again;\n"
      "finished:\n"
      "}\n" ::"r"(smem_addr(barrier)),
      "r"(parity)
      : "memory");
}
// One thread copies a run of global memory (sm_90): both ends aligned to 16, bytes a multiple of
// 16. The barrier must expect the bytes in its current phase.
OCTET_DEVICE void bulk_load(void* shared, const void* global, uint32_t bytes, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(smem_addr(shared)),
      "l"(global), "r"(bytes), "r"(smem_addr(barrier))
      : "memory");
}
OCTET_DEVICE void bulk_load(void* shared, const void* global, uint32_t bytes, uint64_t* barrier,
                            CachePolicy policy) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1], %2, [%3], %4;" ::"r"(smem_addr(shared)),
      "l"(global), "r"(bytes), "r"(smem_addr(barrier)), "l"(policy.bits)
      : "memory");
}

// Asks for a run of global memory to be in L2 soon (sm_90): aligned to 16, bytes a multiple of 16.
OCTET_DEVICE void bulk_prefetch(const void* global, uint32_t bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(global), "r"(bytes) : "memory");
}

// One thread copies a box of a matrix (sm_90): rows [row, row + box rows), inputs [input, input +
// 64), as rows of 128 bytes with the swizzle k128 of hw::smem_desc. `shared` is aligned to 1024.
// The barrier must expect all bytes of the box, of zeros too. `map` is a parameter of the kernel.
OCTET_DEVICE void tensor_load(void* shared, const TensorMap& map, int32_t input, int32_t row,
                              uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3}], [%4];" ::"r"(smem_addr(shared)),
      "l"(&map), "r"(input), "r"(row), "r"(smem_addr(barrier))
      : "memory");
}

// Asks for the map itself (sm_90), so that the first box does not wait for it.
OCTET_DEVICE void tensor_prefetch(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// After a thread wrote shared memory with ordinary stores and before a barrier, when wgmma or a
// bulk copy is what uses it next.
OCTET_DEVICE void fence_proxy_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Moves registers between the warpgroups of a block (sm_90). REQUIRES: __launch_bounds__(T, 1), a
// multiple of 8 in [24, 256], called by whole warpgroups.
template <int kRegisters>
OCTET_DEVICE void setmaxnreg_inc() {
  static_assert(kRegisters >= 24 && kRegisters <= 256 && kRegisters % 8 == 0);
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
OCTET_DEVICE void setmaxnreg_dec() {
  static_assert(kRegisters >= 24 && kRegisters <= 256 && kRegisters % 8 == 0);
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace octet::hw
