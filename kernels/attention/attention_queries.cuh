// The queries of one warp as matrix operands. A vector is one row of one query head. Each takes two
// columns, so that a product has 16 bits of it: for integer keys the high and low byte of
// round(q * 32512 / max|q|), for bf16 keys bf16(q) and bf16(q - bf16(q)). lane = 4 g + t.
#pragma once

#include "base/device/primitives.cuh"
#include "kernels/attention/attention_shape.h"

namespace octet::kernels {

inline constexpr uint32_t kAllLanes = 0xffffffffu;
inline constexpr int kNoWindow = 1 << 30;
inline constexpr float kLog2E = 1.44269504f;
// Adding it leaves the nearest integer of a float below 2^22 in the low bits.
inline constexpr float kRounder = 12582912.0f;
inline constexpr float kSmallest = 1e-30f;  // magnitudes below count as 0

// Tile-wide description of vectors: vector v is row v / heads, head v % heads.
struct TileVectors {
  const float* q = nullptr;  // of row 0, head 0
  int64_t q_stride = 0;
  int count = 0;
  int heads = 0;
  int first_position = 0;
  int window = 0;  // kNoWindow where there is none
  float scale = 0;

  OCTET_DEVICE_BODY bool holds(int vector) const { return vector < count; }
  OCTET_DEVICE_BODY int newest(int vector) const {
    return holds(vector) ? first_position + vector / heads : -1;
  }
  OCTET_DEVICE_BODY const float* source(int vector, int dim) const {
    return q + vector / heads * q_stride + vector % heads * dim;
  }
};

// 4 * kFragments vectors. Column 2j + term of fragment n holds a term of vector 4n + j; the scores
// of vector 4n + t come out in the lanes of that t, who hold its members below. The operands of the
// first kSharedSteps steps lie in shared memory, each lane's for itself, where registers are short.
template <class Shape, int kFragments, int kSharedSteps = 0>
struct Queries {
  uint32_t words[std::max(Shape::kQuerySteps - kSharedSteps, 1)][kFragments][2];
  uint2* shared = nullptr;  // of this thread; [kSharedSteps, kFragments, stride]
  int shared_stride = Shape::kWideThreads;
  float scale[kFragments];                 // of a score, in powers of 2
  float sums[kFragments][Shape::kGroups];  // of the rounded query, for the zeros of the keys
  int newest[kFragments];                  // positions (newest - window, newest] are seen
  int window = 0;

  OCTET_DEVICE_BODY void Put(int step, int n, uint32_t first, uint32_t second) {
    if (step < kSharedSteps) {
      shared[(step * kFragments + n) * shared_stride] = make_uint2(first, second);
    } else {
      words[step - kSharedSteps][n][0] = first;
      words[step - kSharedSteps][n][1] = second;
    }
  }
  OCTET_DEVICE_BODY void Get(int step, int n, uint32_t (&operand)[2]) const {
    if (step < kSharedSteps) {
      const uint2 both = shared[(step * kFragments + n) * shared_stride];
      operand[0] = both.x;
      operand[1] = both.y;
    } else {
      operand[0] = words[step - kSharedSteps][n][0];
      operand[1] = words[step - kSharedSteps][n][1];
    }
  }
};

// The 8 values of the query that a lane's operands hold in a step, in the order of their bytes.
template <class Shape>
OCTET_DEVICE_BODY void LoadQueryStep(const float* source, int step, int t, float (&x)[8]) {
  // int4: nibbles of the same byte lie side by side, even values in the first operand.
  const int width = Shape::kInt4 ? 8 : 4;
  const int first = 32 * step + width * t;
  const int second = Shape::kInt4 ? first + 4 : first + 16;
  const bool half = 32 * step + 16 >= Shape::kDim;  // only 16 values are left
  const bool has_first = !half || !Shape::kInt4 || t < 2;
  const bool has_second = Shape::kInt4 ? has_first : !half;
  float4 a = make_float4(0, 0, 0, 0);
  float4 b = a;
  if (source != nullptr && has_first) a = *reinterpret_cast<const float4*>(source + first);
  if (source != nullptr && has_second) b = *reinterpret_cast<const float4*>(source + second);
  if constexpr (Shape::kInt4) {
    x[0] = a.x, x[1] = a.z, x[2] = b.x, x[3] = b.z, x[4] = a.y, x[5] = a.w, x[6] = b.y, x[7] = b.w;
  } else {
    x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
  }
}

// Integer keys: fragment n of the queries. `source` is of this lane's column, null where it is
// empty.
template <class Shape, int kFragments, int kSharedSteps>
OCTET_DEVICE_BODY void PrepareCodes(const float* source, float score_scale, int n, int lane,
                                    Queries<Shape, kFragments, kSharedSteps>& queries) {
  const int t = lane % 4;
  float x[Shape::kQuerySteps][8];
  float most = 0;
  float poison = 0;  // NaN where a value is not finite
#pragma unroll
  for (int step = 0; step < Shape::kQuerySteps; ++step) {
    LoadQueryStep<Shape>(source, step, t, x[step]);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      most = fmaxf(most, fabsf(x[step][i]));
      poison = poison + (x[step][i] - x[step][i]);
    }
  }
#pragma unroll
  for (int other = 1; other <= 2; other *= 2) {
    most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, other));
    poison = poison + __shfl_xor_sync(kAllLanes, poison, other);
  }
  const float inverse = most > kSmallest && poison == 0 ? 32512.0f / most : 0.0f;
  // A term is a byte of the rounded value: the low one, signed, or the high one with its carry.
  const bool low = lane / 4 % 2 == 1;
  const uint32_t carry = low ? 0 : 0x80;
  const uint32_t pick = low ? 0x0040 : 0x0051;
  int32_t sums[Shape::kGroups] = {};
#pragma unroll
  for (int step = 0; step < Shape::kQuerySteps; ++step) {
    uint32_t code[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const uint32_t bits = __float_as_uint(fmaf(x[step][i], inverse, kRounder));
      sums[Shape::kInt4 ? step : 0] += static_cast<int32_t>(bits - __float_as_uint(kRounder));
      code[i] = bits + carry;
    }
    uint32_t operand[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      operand[i] = hw::prmt(hw::prmt(code[4 * i], code[4 * i + 1], pick),
                            hw::prmt(code[4 * i + 2], code[4 * i + 3], pick), 0x5410);
    }
    queries.Put(step, n, operand[0], operand[1]);
  }
  // From the lanes of a vector's first column to those of its scores.
  const int from = 8 * t;
#pragma unroll
  for (int group = 0; group < Shape::kGroups; ++group) {
    int32_t sum = sums[group];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    queries.sums[n][group] = static_cast<float>(__shfl_sync(kAllLanes, sum, from));
  }
  const float step = most / 32512.0f * score_scale + poison;
  queries.scale[n] = __shfl_sync(kAllLanes, step, from);
}

template <class Shape, int kFragments, int kSharedSteps>
OCTET_DEVICE_BODY void PrepareFloats(const float* source, float score_scale, int n, int lane,
                                     Queries<Shape, kFragments, kSharedSteps>& queries) {
  const bool low = lane / 4 % 2 == 1;
#pragma unroll
  for (int step = 0; step < Shape::kQuerySteps; ++step) {
    uint32_t operand[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float2 x = make_float2(0, 0);
      const int first = 16 * step + 8 * i + 2 * (lane % 4);
      if (source != nullptr) x = *reinterpret_cast<const float2*>(source + first);
      const uint32_t high = hw::bf16x2(x.x, x.y);
      const float2 rounded = hw::floats_of_bf16x2(high);
      operand[i] = low ? hw::bf16x2(x.x - rounded.x, x.y - rounded.y) : high;
    }
    queries.Put(step, n, operand[0], operand[1]);
  }
  queries.scale[n] = score_scale;
  queries.sums[n][0] = 0;
}

// Vectors [first, first + 4 kFragments) of the tile.
template <class Shape, int kFragments, int kSharedSteps>
OCTET_DEVICE_BODY void PrepareQueries(const TileVectors& tile, int first, int lane,
                                      Queries<Shape, kFragments, kSharedSteps>& queries) {
  queries.window = tile.window;
#pragma unroll
  for (int n = 0; n < kFragments; ++n) {
    __syncwarp();  // keeps the compiler from loading all fragments at once
    const int of_scores = first + kFragmentVectors * n + lane % 4;
    queries.newest[n] = tile.newest(of_scores);
    const int of_column = first + kFragmentVectors * n + lane / 8;
    const float* source = tile.holds(of_column) ? tile.source(of_column, Shape::kDim) : nullptr;
    if constexpr (Shape::kBF16) {
      PrepareFloats(source, tile.scale * kLog2E, n, lane, queries);
    } else {
      PrepareCodes(source, tile.scale * kLog2E, n, lane, queries);
    }
  }
}

}  // namespace octet::kernels
