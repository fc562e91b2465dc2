// Fragments of one warp, by the layouts of the PTX ISA: lane = 4g + t.
#include <cstring>

#include "base/dtype.h"
#include "tests/support/emulator/elements.h"
#include "tests/support/emulator/launch.h"
#include "tests/support/emulator/scheduler.h"

namespace octet::emulator {
namespace {

struct LoadArguments {
  uint32_t* r;
  const void* row;
  int matrices;
  bool transposed;
};

LoadArguments& LoadOf(Warp& warp, int lane) {
  return *static_cast<LoadArguments*>(warp.lanes[lane]->meeting_arguments);
}

void ComputeLoad(Warp& warp, uint32_t, const Place& place) {
  const LoadArguments first = LoadOf(warp, 0);
  for (int matrix = 0; matrix < first.matrices; ++matrix) {
    uint16_t elements[8][8];
    uint32_t banks = 0;  // of 16 bytes, 8 in all
    for (int row = 0; row < 8; ++row) {
      const int lane = 8 * matrix + row;
      const void* address = LoadOf(warp, lane).row;
      const uint32_t offset = CheckShared(address, 16, 16, "ldmatrix", place);
      banks |= 1u << (offset / 16 % 8);
      // The row is charged to one of the lanes that receive of it.
      TouchSharedAs(*warp.lanes[first.transposed ? 4 * row + row / 2 : 4 * row], offset, 16,
                    AccessKind::kRead, place);
      std::memcpy(elements[row], address, 16);
    }
    MutableCounts().bank_conflicts += 8 - std::popcount(banks);
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      const int g = lane / 4, t = lane % 4;
      const uint16_t low = first.transposed ? elements[2 * t][g] : elements[g][2 * t];
      const uint16_t high = first.transposed ? elements[2 * t + 1][g] : elements[g][2 * t + 1];
      LoadOf(warp, lane).r[matrix] = uint32_t{high} << 16 | low;
    }
  }
}

void LoadMatrices(uint32_t* r, const void* row, int matrices, bool transposed, const Place& place) {
  LoadArguments arguments{r, row, matrices, transposed};
  Meet("ldmatrix", 0xFFFFFFFFu, &arguments, ComputeLoad, false, place);
}

void ComputeTranspose(Warp& warp, uint32_t, const Place&) {
  const auto word = [&](int lane) -> uint32_t& {
    return *static_cast<uint32_t*>(warp.lanes[lane]->meeting_arguments);
  };
  uint32_t elements[8][8];
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    for (int e = 0; e < 2; ++e) {
      elements[lane / 4][lane % 4 * 2 + e] = word(lane) >> (16 * e) & 0xFFFFu;
    }
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const int g = lane / 4, t = lane % 4;
    word(lane) = elements[2 * t + 1][g] << 16 | elements[2 * t][g];
  }
}

struct MultiplyArguments {
  void* d;
  const uint32_t* a;
  const uint32_t* b;
};

template <typename Sum, Element kA, Element kB>
void Multiply(Warp& warp, uint32_t, const Place&) {
  constexpr int kPerWord = ElementsPerWord(kA);
  constexpr int kDepth = 8 * kPerWord;
  const auto of = [&](int lane) -> MultiplyArguments& {
    return *static_cast<MultiplyArguments*>(warp.lanes[lane]->meeting_arguments);
  };
  Sum a[16][kDepth], b[kDepth][8], d[16][8];
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      for (int e = 0; e < kPerWord; ++e)
        a[g + 8 * (i % 2)][kPerWord * t + i / 2 * kDepth / 2 + e] =
            ElementOf<Sum, kA>(of(lane).a[i], e);
    }
    for (int i = 0; i < 2; ++i) {
      for (int e = 0; e < kPerWord; ++e)
        b[kPerWord * t + i * kDepth / 2 + e][g] = ElementOf<Sum, kB>(of(lane).b[i], e);
    }
    const Sum* sums = static_cast<const Sum*>(of(lane).d);
    for (int i = 0; i < 4; ++i) d[g + 8 * (i / 2)][2 * t + i % 2] = sums[i];
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < kDepth; ++k) {
      for (int column = 0; column < 8; ++column)
        d[row][column] = AddProduct(d[row][column], a[row][k], b[k][column]);
    }
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const int g = lane / 4, t = lane % 4;
    Sum* sums = static_cast<Sum*>(of(lane).d);
    for (int i = 0; i < 4; ++i) sums[i] = d[g + 8 * (i / 2)][2 * t + i % 2];
  }
}

}  // namespace
}  // namespace octet::emulator

namespace octet::hw {

using namespace octet::emulator;  // NOLINT: the two halves of one thing

void ldmatrix_x4(uint32_t (&r)[4], const void* row, Place place) {
  LoadMatrices(r, row, 4, false, place);
}
void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, Place place) {
  LoadMatrices(r, row, 4, true, place);
}
void ldmatrix_x2(uint32_t (&r)[2], const void* row, Place place) {
  LoadMatrices(r, row, 2, false, place);
}
void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row, Place place) {
  LoadMatrices(r, row, 2, true, place);
}

uint32_t movmatrix_trans(uint32_t a, Place place) {
  Meet("movmatrix", 0xFFFFFFFFu, &a, ComputeTranspose, false, place);
  return a;
}

#define OCTET_MMA(name, d_type, a_element, b_element)                                              \
  void name(d_type(&d)[4], const uint32_t(&a)[4], const uint32_t(&b)[2], Place place) {            \
    MultiplyArguments arguments{d, a, b};                                                          \
    Meet(#name, 0xFFFFFFFFu, &arguments, Multiply<d_type, Element::a_element, Element::b_element>, \
         false, place);                                                                            \
  }
OCTET_MMA(mma_m16n8k16_bf16, float, kBF16, kBF16)
OCTET_MMA(mma_m16n8k16_f16, float, kF16, kF16)
OCTET_MMA(mma_m16n8k32_s8s8, int32_t, kS8, kS8)
OCTET_MMA(mma_m16n8k32_u8s8, int32_t, kU8, kS8)
OCTET_MMA(mma_m16n8k32_s8u8, int32_t, kS8, kU8)

}  // namespace octet::hw
