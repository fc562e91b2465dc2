// One leaf of one row scaled to int8, for whichever kernel has the values at hand: the definition
// of linear8_definition.h to the bit, in the places of activation_rows.h.
#pragma once

#include "base/device/primitives.cuh"
#include "kernels/linear/activation_rows.h"
#include "kernels/linear/linear8_definition.h"

namespace octet::kernels::cuda {

struct LeafScale {
  float scale;    // amax / 127
  float inverse;  // 127 / amax
};

// Of the bits of the largest magnitude, which those of a NaN exceed.
OCTET_DEVICE LeafScale LeafScaleOf(uint32_t bits) {
  if (bits >= 0x7f800000u) return {__uint_as_float(0x7fc00000u), 0.0f};
  const float amax = __uint_as_float(bits);
  if (amax < kLeafAmaxMin) return {0.0f, 0.0f};
  return {amax / 127.0f, 127.0f / amax};
}

// Where a segment lies.
struct SegmentPlace {
  int32_t begin;     // first input
  int32_t end;       // past the last
  int32_t position;  // of the first input
};

// The bits of the largest magnitude that a lane has of a segment, kWidth inputs at a time.
template <int kWidth, typename Load>
OCTET_DEVICE uint32_t MostOfInputs(const SegmentPlace& at, const Load& load) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  uint32_t most = 0;
  for (int i = at.begin + lane * kWidth; i < at.end; i += 32 * kWidth) {
    const auto x = load.template operator()<kWidth>(i);
    for (int k = 0; k < kWidth; ++k) most = max(most, __float_as_uint(x.v[k]) & 0x7fffffffu);
  }
  return most;
}

// Writes a segment's codes, kWidth inputs of a lane at a time (a word of codes when it is 4), and
// their sum.
template <int kWidth, typename Load>
OCTET_DEVICE void QuantizeInputs(const ActivationRows& out, int64_t row, int32_t segment,
                                 const SegmentPlace& at, float inverse, const Load& load) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int inputs = at.end - at.begin;
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
        const int32_t code = hw::round_to_s8(x.v[k] * inverse);
        sum += code;
        word |= (static_cast<uint32_t>(code) & 0xffu) << (8 * k);
      }
    }
    int8_t* to = out.code(row, at.position + i);
    if constexpr (kWidth == 4) {
      *reinterpret_cast<uint32_t*>(to) = word;
    } else {
      *to = static_cast<int8_t>(word);
    }
  }
  sum = __reduce_add_sync(hw::kAllLanes, sum);
  if (lane == 0) out.sums[segment * out.padded_rows() + row] = static_cast<float>(sum);
}

// What a kernel says of the rows that it quantizes.
struct QuantizeRow {
  const ActivationRows& out;
  int64_t row;
  bool wide;  // loads of four do where a segment's bounds allow them
};

// kWarps warps, which are all of a block or, if it is one, any, scale one leaf of a row, a segment
// each in turn. All of their lanes call. place(segment) gives its SegmentPlace;
// load.operator()<kWidth>(input) a struct whose v[kWidth] are the row's inputs from that one on,
// the same both times that a lane asks; kWidth is 4 or 1. Planted bug 85: nobody waits for the
// others.
template <int kWarps, typename Place, typename Load>
OCTET_DEVICE void QuantizeLeaf(const QuantizeRow& to, int32_t leaf, int32_t segment_begin,
                               int32_t segment_end, const Place& place, const Load& load) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = kWarps == 1 ? 0 : static_cast<int>(threadIdx.x) / 32;
  const auto is_wide = [&](const SegmentPlace& at) {
    return to.wide && at.begin % 4 == 0 && at.end % 4 == 0;
  };
  uint32_t most = 0;
  for (int32_t s = segment_begin + warp; s < segment_end; s += kWarps) {
    const SegmentPlace at = place(s);
    most = max(most, is_wide(at) ? MostOfInputs<4>(at, load) : MostOfInputs<1>(at, load));
  }
  most = __reduce_max_sync(hw::kAllLanes, most);
  if constexpr (kWarps > 1) {
    OCTET_SHARED(uint32_t[kWarps], most_of_warps);
    if (lane == 0) most_of_warps[warp] = most;
#if OCTET_PLANTED_BUG != 85
    __syncthreads();
#endif
    for (int w = 0; w < kWarps; ++w) most = max(most, most_of_warps[w]);
  }
  const LeafScale scale = LeafScaleOf(most);
  for (int32_t s = segment_begin + warp; s < segment_end; s += kWarps) {
    const SegmentPlace at = place(s);
    if (is_wide(at)) {
      QuantizeInputs<4>(to.out, to.row, s, at, scale.inverse, load);
    } else {
      QuantizeInputs<1>(to.out, to.row, s, at, scale.inverse, load);
    }
  }
  if (warp == 0 && lane == 0) to.out.scales[leaf * to.out.padded_rows() + to.row] = scale.scale;
}

// The same by the table of segments.
template <int kWarps, typename Load>
OCTET_DEVICE void QuantizeLeaf(const QuantizeRow& to, int32_t leaf, const Load& load) {
  const ActivationRows& out = to.out;
  const auto place = [&](int32_t s) -> SegmentPlace {
    return {out.segment_bounds[s], out.segment_bounds[s + 1], out.segment_positions()[s]};
  };
  QuantizeLeaf<kWarps>(to, leaf, out.leaf_segments()[leaf], out.leaf_segments()[leaf + 1], place,
                       load);
}

}  // namespace octet::kernels::cuda
