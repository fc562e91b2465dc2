// The queries of a narrow tile over int8 keys, rounded once for all teams of a worker: each warp
// takes a vector, and leaves in shared memory what PrepareQueries would leave in every team's
// registers.
#pragma once

#include "kernels/attention/attention_merge.cuh"

namespace octet::kernels {

// In shared memory.
template <class Shape>
struct NarrowQueries {
  static constexpr int kFragments = kNarrowVectors / kFragmentVectors;
  static constexpr int kSteps = Shape::kSharesQueries ? Shape::kQuerySteps : 1;
  uint2 words[kSteps * kFragments * 32];  // [steps, fragments, lanes]
  float scale[kNarrowVectors];
  float sums[kNarrowVectors];
  int newest[kNarrowVectors];

  // Vectors [first, first + 4), but for what GiveNewest gives. Operands stay here.
  using Given = Queries<Shape, 1, Shape::kQuerySteps>;
  OCTET_DEVICE_BODY void Give(int first, int lane, Given& queries) {
    queries.shared = words + first / kFragmentVectors * 32 + lane;
    queries.shared_stride = 32 * kFragments;
    queries.scale[0] = scale[first + lane % 4];
    queries.sums[0][0] = sums[first + lane % 4];
  }
  OCTET_DEVICE_BODY void GiveNewest(int first, int lane, Given& queries) const {
    queries.newest[0] = newest[first + lane % 4];
  }
};

// Called by as many warps as there are vectors; everyone is done with what `to` held. Lane l has
// values 4 l .. 4 l + 3 of the warp's vector. The same numbers as PrepareCodes. `meanwhile` is
// called when the values have been asked for.
template <class Shape, typename Meanwhile>
OCTET_DEVICE_BODY void RoundQueries(const TileVectors& tile, NarrowQueries<Shape>& to,
                                    const Meanwhile& meanwhile) {
  static_assert(Shape::kInt8 && Shape::kNarrowThreads == 32 * kNarrowVectors);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int vector = static_cast<int>(threadIdx.x) / 32;
  const int row = vector / tile.heads;
  float4 x = make_float4(0, 0, 0, 0);
  if (tile.holds(vector) && 4 * lane < Shape::kDim) {
    const int head = vector - row * tile.heads;
    x = *reinterpret_cast<const float4*>(tile.q + row * tile.q_stride + head * Shape::kDim +
                                         4 * lane);
  }
  meanwhile();
  // Of magnitudes, which as integers have the same order; what is not finite is greater than all.
  const uint32_t most_bits = __reduce_max_sync(
      kAllLanes, max(max(__float_as_uint(fabsf(x.x)), __float_as_uint(fabsf(x.y))),
                     max(__float_as_uint(fabsf(x.z)), __float_as_uint(fabsf(x.w)))));
  const float most = __uint_as_float(most_bits);
  const bool finite = most_bits < __float_as_uint(kInfinity);
  const float inverse = finite && most > kSmallest ? 32512.0f / most : 0.0f;
  const uint32_t code[4] = {
      __float_as_uint(fmaf(x.x, inverse, kRounder)), __float_as_uint(fmaf(x.y, inverse, kRounder)),
      __float_as_uint(fmaf(x.z, inverse, kRounder)), __float_as_uint(fmaf(x.w, inverse, kRounder))};
  // Where PrepareCodes puts these four values: one of two words in a lane of each of the vector's
  // columns.
  const int step = lane / 8;
  if (step < Shape::kQuerySteps) {
    const int fragment = vector / kFragmentVectors;
    uint2* of_fragment = to.words + (step * NarrowQueries<Shape>::kFragments + fragment) * 32;
#pragma unroll
    for (int term = 0; term < 2; ++term) {
      const uint32_t carry = term == 0 ? 0x80 : 0;  // the high byte has the low one's
      const uint32_t pick = term == 0 ? 0x0051 : 0x0040;
      const int column = 2 * (vector % kFragmentVectors) + term;
      auto* words = reinterpret_cast<uint32_t*>(of_fragment + 4 * column + lane % 4);
      words[lane % 8 / 4] = hw::prmt(hw::prmt(code[0] + carry, code[1] + carry, pick),
                                     hw::prmt(code[2] + carry, code[3] + carry, pick), 0x5410);
    }
  }
  const uint32_t sum = __reduce_add_sync(
      kAllLanes, code[0] + code[1] + code[2] + code[3] - 4 * __float_as_uint(kRounder));
  if (lane != 0) return;
  to.sums[vector] = static_cast<float>(static_cast<int32_t>(sum));
  to.scale[vector] = finite ? most / 32512.0f * (tile.scale * kLog2E) : __builtin_nanf("");
  to.newest[vector] = tile.newest(vector);
}

}  // namespace octet::kernels
