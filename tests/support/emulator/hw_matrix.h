// Matrix fragments of octet::hw on the host.
#pragma once

#include <cstdint>

#include "tests/support/emulator/hw_async.h"

namespace octet::emulator {

enum class Element { kBF16, kF16, kS8, kU8 };

// One wgmma as a thread gives it. Registers are remembered by address until the wait.
struct Wgmma {
  int columns;
  Element a_type, b_type;
  void* d;            // float or int32 [columns / 2]
  const uint32_t* a;  // [4], or null: a_desc
  uint64_t a_desc, b_desc;
  bool accumulate;
};
void IssueWgmma(const Wgmma& wgmma, const Place& place);
void WaitWgmma(int newest, const Place& place);

}  // namespace octet::emulator

namespace octet::hw {

void ldmatrix_x4(uint32_t (&r)[4], const void* row, Place place = Place::current());
void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, Place place = Place::current());
void ldmatrix_x2(uint32_t (&r)[2], const void* row, Place place = Place::current());
void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row, Place place = Place::current());
uint32_t movmatrix_trans(uint32_t a, Place place = Place::current());

void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                       Place place = Place::current());
void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                      Place place = Place::current());
void mma_m16n8k32_s8s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                       Place place = Place::current());
void mma_m16n8k32_u8s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                       Place place = Place::current());
void mma_m16n8k32_s8u8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                       Place place = Place::current());

void wgmma_fence(Place place = Place::current());
// The compiler is the device's alone.
template <typename D, int kCount>
void wgmma_hold(D (&)[kCount]) {}
void wgmma_commit(Place place = Place::current());
template <int kNewest>
void wgmma_wait(Place place = Place::current()) {
  static_assert(kNewest >= 0 && kNewest < 8);
  emulator::WaitWgmma(kNewest, place);
}

#define OCTET_EMULATED_WGMMA(name, d_type, a_element, b_element)                                  \
  template <int kN>                                                                               \
  void name(d_type(&d)[kN / 2], const uint32_t(&a)[4], uint64_t b, bool accumulate,               \
            Place place = Place::current()) {                                                     \
    emulator::IssueWgmma(                                                                         \
        {kN, emulator::Element::a_element, emulator::Element::b_element, d, a, 0, b, accumulate}, \
        place);                                                                                   \
  }                                                                                               \
  template <int kN>                                                                               \
  void name(d_type(&d)[kN / 2], uint64_t a, uint64_t b, bool accumulate,                          \
            Place place = Place::current()) {                                                     \
    emulator::IssueWgmma({kN, emulator::Element::a_element, emulator::Element::b_element, d,      \
                          nullptr, a, b, accumulate},                                             \
                         place);                                                                  \
  }
OCTET_EMULATED_WGMMA(wgmma_bf16, float, kBF16, kBF16)
OCTET_EMULATED_WGMMA(wgmma_s8s8, int32_t, kS8, kS8)
OCTET_EMULATED_WGMMA(wgmma_u8s8, int32_t, kU8, kS8)
OCTET_EMULATED_WGMMA(wgmma_s8u8, int32_t, kS8, kU8)
#undef OCTET_EMULATED_WGMMA

}  // namespace octet::hw
