// One segment of one row scaled to int8 by one warp, for whichever kernel has the values at hand:
// the definition of panel.h to the bit, in the places of activation_rows.h.
#pragma once

#include "base/device/primitives.cuh"
#include "kernels/linear/activation_rows.h"

namespace octet::kernels::cuda {

struct SegmentScale {
  float scale;    // amax / 127
  float inverse;  // 127 / amax
};

// Of the bits of the largest magnitude, which those of a NaN exceed.
OCTET_DEVICE SegmentScale SegmentScaleOf(uint32_t bits) {
  constexpr float kLeast = 0x1p-100f;
  if (bits >= 0x7f800000u) return {__uint_as_float(0x7fc00000u), 0.0f};
  const float amax = __uint_as_float(bits);
  if (amax < kLeast) return {0.0f, 0.0f};
  return {amax / 127.0f, 127.0f / amax};
}

// What QuantizeInputs needs to know of its segment.
struct SegmentPlace {
  int64_t row;
  int32_t index;     // of the segment
  int32_t begin;     // first input
  int32_t end;       // past the last
  int32_t position;  // of the first input
};

// kWidth inputs of a lane at a time: a word of codes when it is 4.
template <int kWidth, typename Load>
OCTET_DEVICE void QuantizeInputs(const ActivationRows& out, const SegmentPlace& at,
                                 const Load& load) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int inputs = at.end - at.begin;
  uint32_t most = 0;
  for (int i = lane * kWidth; i < inputs; i += 32 * kWidth) {
    const auto x = load.template operator()<kWidth>(at.begin + i);
    for (int k = 0; k < kWidth; ++k) most = max(most, __float_as_uint(x.v[k]) & 0x7fffffffu);
  }
  const SegmentScale scale = SegmentScaleOf(__reduce_max_sync(0xffffffffu, most));

  // To the end of the last step, so that every lane has as many turns.
  constexpr int kStep = static_cast<int>(kStepPositions);
  const int padded = (inputs + kStep - 1) / kStep * kStep;
  int32_t sum = 0;
  for (int i = lane * kWidth; i < padded; i += 32 * kWidth) {
    uint32_t word = 0;
#if OCTET_PLANTED_BUG == 83
    if (i < padded) {
#else
    if (i < inputs) {
#endif
      const auto x = load.template operator()<kWidth>(at.begin + i);
      for (int k = 0; k < kWidth; ++k) {
        const int32_t code = hw::round_to_s8(x.v[k] * scale.inverse);
        sum += code;
        word |= (static_cast<uint32_t>(code) & 0xffu) << (8 * k);
      }
    }
    int8_t* to = out.code(at.row, at.position + i);
    if constexpr (kWidth == 4) {
      *reinterpret_cast<uint32_t*>(to) = word;
    } else {
      *to = static_cast<int8_t>(word);
    }
  }
  sum = __reduce_add_sync(0xffffffffu, sum);
  if (lane == 0) {
    const int64_t to = at.index * out.padded_rows() + at.row;
    out.scales[to] = scale.scale;
    out.sums[to] = scale.scale * static_cast<float>(sum);
  }
}

// load.operator()<kWidth>(input) gives a struct whose v[kWidth] are the row's inputs from that one
// on, the same whenever it is asked; kWidth is 4 where the segment's bounds allow it and `wide`
// says that loads of four do, else 1. Every lane of the warp calls.
template <typename Load>
OCTET_DEVICE void QuantizeSegment(const ActivationRows& out, int64_t row, int64_t segment,
                                  bool wide, const Load& load) {
  const SegmentPlace at = {row, static_cast<int32_t>(segment), out.segment_bounds[segment],
                           out.segment_bounds[segment + 1], out.segment_positions()[segment]};
  if (wide && at.begin % 4 == 0 && at.end % 4 == 0) {
    QuantizeInputs<4>(out, at, load);
  } else {
    QuantizeInputs<1>(out, at, load);
  }
}

}  // namespace octet::kernels::cuda
