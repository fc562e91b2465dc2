// Device side of primitives.cuh, part 3: matrix fragments of one warp (sm_80 and later). All 32
// lanes call each together. Fragments, by the PTX ISA, for lane = 4g + t:
//   D, C [16 x 8]:      d[0] (g, 2t)  d[1] (g, 2t+1)  d[2] (g+8, 2t)  d[3] (g+8, 2t+1)
//   A [16 x 16] 16-bit: a[0] (g, 2t..2t+1)  a[1] (g+8, same)  a[2] (g, 2t+8..9)  a[3] (g+8,
//   2t+8..9) B [16 x 8] 16-bit:  b[0] rows 2t..2t+1 of column g   b[1] rows 2t+8..2t+9 of column g
//   A [16 x 32] 8-bit:  a[0] (g, 4t..4t+3)  a[1] (g+8, same)  a[2] (g, 4t+16..19)  a[3] (g+8, same)
//   B [32 x 8] 8-bit:   b[0] rows 4t..4t+3 of column g   b[1] rows 4t+16..4t+19 of column g
#pragma once

#include "base/device/primitives_core.cuh"

namespace octet::hw {

// Matrices of 8 rows x 16 bytes: lane l names row l % 8 of matrix l / 8 (16-byte aligned, in shared
// memory) and receives in r[i] bytes 4t..4t+3 of row g of matrix i. _trans, for 16-bit elements:
// the elements (2t, g) and (2t+1, g).
OCTET_DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(smem_addr(row))
               : "memory");
}
OCTET_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(smem_addr(row))
               : "memory");
}
// Lanes 0..15 name the rows.
OCTET_DEVICE void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(smem_addr(row))
               : "memory");
}
OCTET_DEVICE void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(smem_addr(row))
               : "memory");
}

// A matrix of 8 x 8 16-bit elements, of which a lane holds (g, 2t) and (g, 2t+1), transposed: it
// receives the elements (2t, g) and (2t+1, g).
OCTET_DEVICE uint32_t movmatrix_trans(uint32_t a) {
  uint32_t d;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(d) : "r"(a));
  return d;
}

// d += a * b
OCTET_DEVICE void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
OCTET_DEVICE void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#define OCTET_MMA_8_BIT(a_type, b_type)                                                  \
  OCTET_DEVICE void mma_m16n8k32_##a_type##b_type(int32_t(&d)[4], const uint32_t(&a)[4], \
                                                  const uint32_t(&b)[2]) {               \
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32." #a_type "." #b_type            \
                 ".s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"  \
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])                        \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));    \
  }
OCTET_MMA_8_BIT(s8, s8)
OCTET_MMA_8_BIT(u8, s8)
OCTET_MMA_8_BIT(s8, u8)
#undef OCTET_MMA_8_BIT

}  // namespace octet::hw
