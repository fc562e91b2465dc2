// What the three bodies of the float lanes (lanes.h) share. The compiler's flags say which body a
// file gets, so a file must include lanes.h, never a body.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) || defined(__AVX2__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // gcc 12's own header (gcc bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#define OCTET_INLINE inline __attribute__((always_inline))

namespace octet::kernels {
namespace {

constexpr int kLanes = 16;

struct BF16 {
  uint16_t bits;
};

}  // namespace
}  // namespace octet::kernels
