// Fragments of one warp, by the layouts of the PTX ISA: lane = 4g + t.
#include <cstring>

#include "base/dtype.h"
#include "tests/support/emulator/elements.h"
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
    for (int row = 0; row < 8; ++row) {
      const int lane = 8 * matrix + row;
      const void* address = LoadOf(warp, lane).row;
      const uint32_t offset = CheckShared(address, 16, 16, "ldmatrix", place);
      // The row is charged to one of the lanes that receive of it.
      TouchSharedAs(*warp.lanes[first.transposed ? 4 * row + row / 2 : 4 * row], offset, 16,
                    AccessKind::kRead, place);
      std::memcpy(elements[row], address, 16);
    }
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
  Element a_type, b_type;
};

template <typename Value, typename Sum>
void Multiply(Warp& warp, int depth) {
  const auto of = [&](int lane) -> MultiplyArguments& {
    return *static_cast<MultiplyArguments*>(warp.lanes[lane]->meeting_arguments);
  };
  const MultiplyArguments& any = of(0);
  const int per_word = depth / 8;  // elements in a register: 2 or 4
  Value a[16][32], b[8][32];
  Sum d[16][8];
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const int row = g + 8 * (i % 2);
      const int column = per_word * t + (i / 2) * depth / 2;
      for (int e = 0; e < per_word; ++e)
        a[row][column + e] = ElementOf<Value>(of(lane).a[i], e, any.a_type);
    }
    for (int i = 0; i < 2; ++i) {
      for (int e = 0; e < per_word; ++e)
        b[g][per_word * t + i * depth / 2 + e] = ElementOf<Value>(of(lane).b[i], e, any.b_type);
    }
    const Sum* sums = static_cast<const Sum*>(of(lane).d);
    for (int i = 0; i < 4; ++i) d[g + 8 * (i / 2)][2 * t + i % 2] = sums[i];
  }
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      Sum sum = d[row][column];
      for (int k = 0; k < depth; ++k) sum = AddProduct(sum, a[row][k], b[column][k]);
      d[row][column] = sum;
    }
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const int g = lane / 4, t = lane % 4;
    Sum* sums = static_cast<Sum*>(of(lane).d);
    for (int i = 0; i < 4; ++i) sums[i] = d[g + 8 * (i / 2)][2 * t + i % 2];
  }
}

void ComputeFloatProduct(Warp& warp, uint32_t, const Place&) { Multiply<float, float>(warp, 16); }
void ComputeIntegerProduct(Warp& warp, uint32_t, const Place&) {
  Multiply<int32_t, int32_t>(warp, 32);
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

#define OCTET_MMA(name, d_type, a_element, b_element, compute)                          \
  void name(d_type(&d)[4], const uint32_t(&a)[4], const uint32_t(&b)[2], Place place) { \
    MultiplyArguments arguments{d, a, b, Element::a_element, Element::b_element};       \
    Meet(#name, 0xFFFFFFFFu, &arguments, compute, false, place);                        \
  }
OCTET_MMA(mma_m16n8k16_bf16, float, kBF16, kBF16, ComputeFloatProduct)
OCTET_MMA(mma_m16n8k16_f16, float, kF16, kF16, ComputeFloatProduct)
OCTET_MMA(mma_m16n8k32_s8s8, int32_t, kS8, kS8, ComputeIntegerProduct)
OCTET_MMA(mma_m16n8k32_u8s8, int32_t, kU8, kS8, ComputeIntegerProduct)
OCTET_MMA(mma_m16n8k32_s8u8, int32_t, kS8, kU8, ComputeIntegerProduct)

}  // namespace octet::hw
