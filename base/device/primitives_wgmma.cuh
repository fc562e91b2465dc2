// Device side of primitives.cuh, part 4: matrix products of a warpgroup (sm_90a; 128 threads whose
// first is a multiple of 128, all of which call each together). D [64 x N] += A [64 x K] B [K x N],
// K = 16 for 16-bit and 32 for 8-bit elements. Fragments, for warp w of the four:
//   D: d[4j + 0..1] (16w + g, 8j + 2t + 0..1)   d[4j + 2..3] (16w + g + 8, same)
//   A in registers: as A of mma.m16n8 for rows 16w..16w+15 (primitives_matrix.cuh)
//   A, B in shared memory: K-major tiles of 64 and N rows, see hw::smem_desc
// Order: wgmma_fence, any number of wgmma_*, wgmma_commit, wgmma_wait<0>; until then neither d nor
// the operands may be touched. accumulate == false: D starts from zero.
#pragma once

#include "base/device/primitives_core.cuh"

namespace octet::hw {

OCTET_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
OCTET_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most kNewest groups of this warpgroup are still under way.
template <int kNewest>
OCTET_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kNewest) : "memory");
}

// Keeps the compiler from moving what uses d across this place: after wgmma_wait, before the first
// use of d that is not a wgmma. Of a fragment of A in registers: so that they are not given to
// anything else before.
template <int kCount>
OCTET_DEVICE void wgmma_hold(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
template <int kCount>
OCTET_DEVICE void wgmma_hold(int32_t (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(d[i])::"memory");
}
template <int kCount>
OCTET_DEVICE void wgmma_hold(uint32_t (&a)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(a[i])::"memory");
}

// Registers 8i..8i+7 of d as operands, and their names.
#define OCTET_D8(c, i)                                                             \
  c(d[8 * i]), c(d[8 * i + 1]), c(d[8 * i + 2]), c(d[8 * i + 3]), c(d[8 * i + 4]), \
      c(d[8 * i + 5]), c(d[8 * i + 6]), c(d[8 * i + 7])
#define OCTET_D4(c) c(d[0]), c(d[1]), c(d[2]), c(d[3])
#define OCTET_D12(c) OCTET_D8(c, 0), c(d[8]), c(d[9]), c(d[10]), c(d[11])
#define OCTET_D16(c) OCTET_D8(c, 0), OCTET_D8(c, 1)
#define OCTET_D24(c) OCTET_D16(c), OCTET_D8(c, 2)
#define OCTET_D32(c) OCTET_D24(c), OCTET_D8(c, 3)
#define OCTET_D48(c) OCTET_D32(c), OCTET_D8(c, 4), OCTET_D8(c, 5)
#define OCTET_D64(c) OCTET_D48(c), OCTET_D8(c, 6), OCTET_D8(c, 7)
#define OCTET_D96(c) OCTET_D64(c), OCTET_D8(c, 8), OCTET_D8(c, 9), OCTET_D8(c, 10), OCTET_D8(c, 11)
#define OCTET_D128(c) \
  OCTET_D96(c), OCTET_D8(c, 12), OCTET_D8(c, 13), OCTET_D8(c, 14), OCTET_D8(c, 15)
#define OCTET_N4 "%0,%1,%2,%3"
#define OCTET_N8 OCTET_N4 ",%4,%5,%6,%7"
#define OCTET_N12 OCTET_N8 ",%8,%9,%10,%11"
#define OCTET_N16 OCTET_N12 ",%12,%13,%14,%15"
#define OCTET_N24 OCTET_N16 ",%16,%17,%18,%19,%20,%21,%22,%23"
#define OCTET_N32 OCTET_N24 ",%24,%25,%26,%27,%28,%29,%30,%31"
#define OCTET_N48 OCTET_N32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define OCTET_N64 OCTET_N48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define OCTET_N96                                                              \
  OCTET_N64                                                                    \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%" \
  "82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define OCTET_N128                                                                 \
  OCTET_N96                                                                        \
  ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%" \
  "112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define OCTET_AS_F32(x) "+f"(x)
#define OCTET_AS_S32(x) "+r"(x)

// One instruction with A in registers and one with A in shared memory. p0..p5 name the operands
// after d; tail_* is what the type wants at the end.
#define OCTET_WGMMA_IF(n, regs, c, d_list, names, type, tail_regs, tail_desc, p0, p1, p2, p3, p4, \
                       p5)                                                                        \
  if constexpr (kN == n) {                                                                        \
    if constexpr (std::is_same_v<A, uint64_t>) {                                                  \
      asm volatile("{.reg .pred p; setp.ne.b32 p, " p2                                            \
                   ", 0; wgmma.mma_async.sync.aligned.m64n" #n type " {" names "}, " p0 ", " p1   \
                   ", p" tail_desc ";}"                                                           \
                   : d_list(c)                                                                    \
                   : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));                          \
    } else {                                                                                      \
      asm volatile("{.reg .pred p; setp.ne.b32 p, " p5                                            \
                   ", 0; wgmma.mma_async.sync.aligned.m64n" #n type " {" names "}, {" p0 ", " p1  \
                   ", " p2 ", " p3 "}, " p4 ", p" tail_regs ";}"                                  \
                   : d_list(c)                                                                    \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),                          \
                     "r"(static_cast<int>(accumulate)));                                          \
    }                                                                                             \
  }
#define OCTET_WGMMA(name, d_type, c, type, tail_regs, tail_desc)                                   \
  template <int kN, typename A>                                                                    \
  OCTET_DEVICE void name##_any(d_type(&d)[kN / 2], const A& a, uint64_t b, bool accumulate) {      \
    static_assert(kN == 8 || kN == 16 || kN == 24 || kN == 32 || kN == 48 || kN == 64 ||           \
                  kN == 96 || kN == 128 || kN == 192 || kN == 256);                                \
    OCTET_WGMMA_IF(8, 4, c, OCTET_D4, OCTET_N4, type, tail_regs, tail_desc, "%4", "%5", "%6",      \
                   "%7", "%8", "%9")                                                               \
    OCTET_WGMMA_IF(16, 8, c, OCTET_D8_ONE, OCTET_N8, type, tail_regs, tail_desc, "%8", "%9",       \
                   "%10", "%11", "%12", "%13")                                                     \
    OCTET_WGMMA_IF(24, 12, c, OCTET_D12, OCTET_N12, type, tail_regs, tail_desc, "%12", "%13",      \
                   "%14", "%15", "%16", "%17")                                                     \
    OCTET_WGMMA_IF(32, 16, c, OCTET_D16, OCTET_N16, type, tail_regs, tail_desc, "%16", "%17",      \
                   "%18", "%19", "%20", "%21")                                                     \
    OCTET_WGMMA_IF(48, 24, c, OCTET_D24, OCTET_N24, type, tail_regs, tail_desc, "%24", "%25",      \
                   "%26", "%27", "%28", "%29")                                                     \
    OCTET_WGMMA_IF(64, 32, c, OCTET_D32, OCTET_N32, type, tail_regs, tail_desc, "%32", "%33",      \
                   "%34", "%35", "%36", "%37")                                                     \
    OCTET_WGMMA_IF(96, 48, c, OCTET_D48, OCTET_N48, type, tail_regs, tail_desc, "%48", "%49",      \
                   "%50", "%51", "%52", "%53")                                                     \
    OCTET_WGMMA_IF(128, 64, c, OCTET_D64, OCTET_N64, type, tail_regs, tail_desc, "%64", "%65",     \
                   "%66", "%67", "%68", "%69")                                                     \
    OCTET_WGMMA_IF(192, 96, c, OCTET_D96, OCTET_N96, type, tail_regs, tail_desc, "%96", "%97",     \
                   "%98", "%99", "%100", "%101")                                                   \
    OCTET_WGMMA_IF(256, 128, c, OCTET_D128, OCTET_N128, type, tail_regs, tail_desc, "%128",        \
                   "%129", "%130", "%131", "%132", "%133")                                         \
  }                                                                                                \
  /* A in registers. */                                                                            \
  template <int kN>                                                                                \
  OCTET_DEVICE void name(d_type(&d)[kN / 2], const uint32_t(&a)[4], uint64_t b, bool accumulate) { \
    name##_any<kN>(d, a, b, accumulate);                                                           \
  }                                                                                                \
  /* A in shared memory. */                                                                        \
  template <int kN>                                                                                \
  OCTET_DEVICE void name(d_type(&d)[kN / 2], uint64_t a, uint64_t b, bool accumulate) {            \
    name##_any<kN>(d, a, b, accumulate);                                                           \
  }
#define OCTET_D8_ONE(c) OCTET_D8(c, 0)

OCTET_WGMMA(wgmma_bf16, float, OCTET_AS_F32, "k16.f32.bf16.bf16", ", 1, 1, 0", ", 1, 1, 0, 0")
OCTET_WGMMA(wgmma_s8s8, int32_t, OCTET_AS_S32, "k32.s32.s8.s8", "", "")
OCTET_WGMMA(wgmma_u8s8, int32_t, OCTET_AS_S32, "k32.s32.u8.s8", "", "")
OCTET_WGMMA(wgmma_s8u8, int32_t, OCTET_AS_S32, "k32.s32.s8.u8", "", "")

}  // namespace octet::hw
