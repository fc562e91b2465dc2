// One warp, one block of 64 tokens, 4 kFragments vectors: scores, weights, weighted values. Each
// vector's results depend on its query and the tokens it sees alone: keys and values are the
// matrices' first operand, vectors are columns, and integer sums are exact.
//
// Lane 4 g + t holds, of vector t of a fragment, tokens g, g + 8, ... of the block, and values
// first(tile) and second(tile) of a tile of 16.
#pragma once

#include "kernels/attention/attention_queries.cuh"

namespace octet::kernels {

inline constexpr int kLaneTokens = kBlockTokens / 8;  // of one vector in one lane
inline constexpr float kInfinity = __builtin_inff();

// What a block leaves of a vector, the values apart: O = sum of p * code is still to be multiplied
// by `step` of its group, and the zeros of the group to be added.
template <class Shape, int kFragments>
struct BlockSums {
  float most[kFragments];  // score, -infinity where no token is seen
  float sum[kFragments];   // of weights
  float zeros[kFragments][Shape::kGroups];
  float step[kFragments][Shape::kGroups];
};

// Which value of the head a lane holds for row g or g + 8 of a tile.
template <class Shape>
OCTET_DEVICE_BODY int ValueIndex(int tile, int half, int g) {
  if constexpr (Shape::kInt8) return 16 * tile + 2 * g + half;
  if constexpr (Shape::kInt4) return 32 * (tile / 2) + 4 * g + 2 * (tile % 2) + half;
  return 16 * tile + 8 * half + g;
}

OCTET_DEVICE_BODY float2 PairAt(const unsigned char* pairs, int index) {
  return hw::floats_of_f16x2(reinterpret_cast<const uint32_t*>(pairs)[index]);
}

// 16 rows from `row`, 32 bytes from chunk 2 `pair`: the first operand of a product with queries.
template <class Shape>
OCTET_DEVICE_BODY void LoadKeys(const unsigned char* half, int row, int pair, int lane,
                                uint32_t (&a)[4]) {
  if (2 * pair + 1 < Shape::kChunks) {
    hw::ldmatrix_x4(a, half + Shape::Offset(row + lane % 16, 2 * pair + lane / 16));
    return;
  }
  uint32_t low[2];
  hw::ldmatrix_x2(low, half + Shape::Offset(row + lane % 16, 2 * pair));
  a[0] = low[0];
  a[1] = low[1];
  a[2] = 0;
  a[3] = 0;
}

// Scores of tokens g + 8 j in powers of 2: s[n][j]. `half` holds the keys, `pairs` their scales and
// zeros.
template <class Shape, int kFragments, int kSharedSteps>
OCTET_DEVICE_BODY void Scores(const unsigned char* half, const unsigned char* pairs,
                              const Queries<Shape, kFragments, kSharedSteps>& queries, int lane,
                              float (&s)[kFragments][kLaneTokens]) {
#pragma unroll
  for (int m = 0; m < kBlockTokens / 16; ++m) {
    float dots[kFragments][2] = {};
    float2 pair[2][Shape::kGroups];
    if constexpr (!Shape::kBF16) {
#pragma unroll
      for (int i = 0; i < 2 * Shape::kGroups; ++i) {
        const int token = 16 * m + 8 * (i % 2) + lane / 4;
        pair[i % 2][i / 2] = PairAt(pairs, token * Shape::kGroups + i / 2);
      }
    }
    // The sum of one group: in int4 a step, else all steps.
    int32_t codes[kFragments][4] = {};
    float values[kFragments][4] = {};
    uint32_t a[4];
#pragma unroll
    for (int step = 0; step < Shape::kQuerySteps; ++step) {
      uint32_t keys[4];
      if constexpr (Shape::kInt4) {
        if (step % 2 == 0) LoadKeys<Shape>(half, 16 * m, step / 2, lane, a);
        const uint32_t low = a[step % 2 * 2];
        const uint32_t high = a[step % 2 * 2 + 1];
        keys[0] = low & 0x0f0f0f0fu;
        keys[1] = high & 0x0f0f0f0fu;
        keys[2] = low >> 4 & 0x0f0f0f0fu;
        keys[3] = high >> 4 & 0x0f0f0f0fu;
      } else {
        LoadKeys<Shape>(half, 16 * m, step, lane, keys);
      }
#pragma unroll
      for (int n = 0; n < kFragments; ++n) {
        uint32_t b[2];
        queries.Get(step, n, b);
        if constexpr (Shape::kBF16) {
          hw::mma_m16n8k16_bf16(values[n], keys, b);
          continue;
        }
        hw::mma_m16n8k32_s8s8(codes[n], keys, b);
        if (!Shape::kInt4 && step + 1 < Shape::kQuerySteps) continue;
        const int group = Shape::kInt4 ? step : 0;
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const float dot = static_cast<float>(codes[n][2 * e] * 256 + codes[n][2 * e + 1]);
          const float2 of_key = pair[e][group];
          dots[n][e] = fmaf(of_key.x, dot, fmaf(of_key.y, queries.sums[n][group], dots[n][e]));
          codes[n][2 * e] = 0;
          codes[n][2 * e + 1] = 0;
        }
      }
    }
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        if constexpr (Shape::kBF16) dots[n][e] = values[n][2 * e] + values[n][2 * e + 1];
        s[n][2 * m + e] = queries.scale[n] * dots[n][e];
      }
    }
  }
}

OCTET_DEVICE_BODY float MostOfVector(float x) {
#pragma unroll
  for (int other = 4; other <= 16; other *= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, other));
  }
  return x;
}
OCTET_DEVICE_BODY float SumOfVector(float x) {
#pragma unroll
  for (int other = 4; other <= 16; other *= 2) x = x + __shfl_xor_sync(kAllLanes, x, other);
  return x;
}

// Whether vector t of fragment n sees the lane's token j of the block at `position`.
template <class Shape, int kFragments, int kSharedSteps>
OCTET_DEVICE_BODY bool Sees(const Queries<Shape, kFragments, kSharedSteps>& queries, int n,
                            int position, int j, int lane) {
  const int token = position + 8 * j + lane / 4;
  return token <= queries.newest[n] && token + queries.window > queries.newest[n];
}

// Scores become weights relative to the block's greatest; those of tokens not seen become 0.
template <bool kMasked, class Shape, int kFragments, int kSharedSteps>
OCTET_DEVICE_BODY void Weights(const Queries<Shape, kFragments, kSharedSteps>& queries,
                               int position, int lane, float (&s)[kFragments][kLaneTokens],
                               BlockSums<Shape, kFragments>& sums) {
#pragma unroll
  for (int n = 0; n < kFragments; ++n) {
    float most = -kInfinity;
#pragma unroll
    for (int j = 0; j < kLaneTokens; ++j) {
      if (kMasked && !Sees(queries, n, position, j, lane)) s[n][j] = -kInfinity;
      most = fmaxf(most, s[n][j]);
    }
    most = MostOfVector(most);
    const float reference = most == -kInfinity ? 0.0f : most;
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kLaneTokens; ++j) {
      s[n][j] = hw::exp2(s[n][j] - reference);
      sum = sum + s[n][j];
    }
    sums.most[n] = most;
    sums.sum[n] = SumOfVector(sum);
  }
}

// The weights of fragment n as second operand, for values of group `group`. Integer values: weight
// times scale, as 16 bits relative to the greatest of the block, two bytes for the two columns.
// Within a word the tokens are 2t of an octet and of the next, then 2t + 1 of both.
template <bool kMasked, class Shape, int kFragments, int kSharedSteps>
OCTET_DEVICE_BODY void WeightCodes(const unsigned char* pairs,
                                   const Queries<Shape, kFragments, kSharedSteps>& queries,
                                   int position, int group, int n, int lane,
                                   const float (&p)[kFragments][kLaneTokens], uint32_t (&words)[4],
                                   BlockSums<Shape, kFragments>& sums) {
  float scaled[kLaneTokens];
  float most = 0;
  float zeros = 0;
#pragma unroll
  for (int j = 0; j < kLaneTokens; ++j) {
    const float2 pair = PairAt(pairs, (8 * j + lane / 4) * Shape::kGroups + group);
    const bool seen = !kMasked || Sees(queries, n, position, j, lane);
    scaled[j] = seen ? p[n][j] * pair.x : 0.0f;
    zeros = seen ? fmaf(p[n][j], pair.y, zeros) : zeros;
    most = fmaxf(most, scaled[j]);
  }
  most = MostOfVector(most);
  sums.zeros[n][group] = SumOfVector(zeros);
  const bool none = !(most > kSmallest);
  const float inverse = none ? 0.0f : 65535.0f / most;
  sums.step[n][group] = none ? 0.0f : most * (1.0f / 65535.0f);
#pragma unroll
  for (int i = 0; i < kLaneTokens / 2; ++i) {
    const uint32_t even = __float_as_uint(fmaf(scaled[2 * i], inverse, kRounder));
    const uint32_t odd = __float_as_uint(fmaf(scaled[2 * i + 1], inverse, kRounder));
#if OCTET_PLANTED_BUG == 2  // the high byte in the low one's column
    words[i] = hw::movmatrix_trans(hw::prmt(even, odd, 0x5140));
#else
    words[i] = hw::movmatrix_trans(hw::prmt(even, odd, 0x4051));
#endif
  }
}

// bf16 values: the weight as two bf16 terms.
template <class Shape, int kFragments>
OCTET_DEVICE_BODY void WeightFloats(int n, const float (&p)[kFragments][kLaneTokens],
                                    uint32_t (&words)[kLaneTokens],
                                    BlockSums<Shape, kFragments>& sums) {
#pragma unroll
  for (int j = 0; j < kLaneTokens; ++j) {
    const float high = hw::float_of_bf16(hw::bf16(p[n][j]));
    words[j] = hw::movmatrix_trans(hw::bf16x2(high, p[n][j] - high));
  }
  sums.zeros[n][0] = 0;
  sums.step[n][0] = 1;
}

// Tiles of the values of one group, integer: sink(tile, n, group, first, second).
template <class Shape, int kFragments, typename Sink>
OCTET_DEVICE_BODY void WeighCodes(const unsigned char* half, int group, int lane,
                                  const uint32_t (&words)[kFragments][4], const Sink& sink) {
  // A chunk of 16 bytes is a tile of int8, two of int4.
  constexpr int kTilesPerChunk = Shape::kInt4 ? 2 : 1;
  constexpr int kChunks = Shape::kTilesPerGroup / kTilesPerChunk;
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
    const int chunk = group * kChunks + c;
    int32_t codes[kTilesPerChunk][kFragments][4] = {};
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      // Four octets of tokens; a word has two bytes of the tokens 2t and 2t + 1 of one.
      uint32_t r[4];
      hw::ldmatrix_x4_trans(r, half + Shape::Offset(32 * step + lane, chunk));
      const uint32_t even[2] = {hw::prmt(r[0], r[1], 0x6240), hw::prmt(r[2], r[3], 0x6240)};
      const uint32_t odd[2] = {hw::prmt(r[0], r[1], 0x7351), hw::prmt(r[2], r[3], 0x7351)};
#pragma unroll
      for (int n = 0; n < kFragments; ++n) {
        const uint32_t b[2] = {words[n][2 * step], words[n][2 * step + 1]};
        if constexpr (Shape::kInt4) {
          constexpr uint32_t kNibble = 0x0f0f0f0fu;
          const uint32_t first[4] = {even[0] & kNibble, even[0] >> 4 & kNibble, even[1] & kNibble,
                                     even[1] >> 4 & kNibble};
          const uint32_t second[4] = {odd[0] & kNibble, odd[0] >> 4 & kNibble, odd[1] & kNibble,
                                      odd[1] >> 4 & kNibble};
          hw::mma_m16n8k32_s8u8(codes[0][n], first, b);
          hw::mma_m16n8k32_s8u8(codes[kTilesPerChunk - 1][n], second, b);
        } else {
          const uint32_t a[4] = {even[0], odd[0], even[1], odd[1]};
          hw::mma_m16n8k32_s8u8(codes[0][n], a, b);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kTilesPerChunk; ++i) {
#pragma unroll
      for (int n = 0; n < kFragments; ++n) {
        sink(chunk * kTilesPerChunk + i, n, group,
             static_cast<float>(codes[i][n][0] * 256 + codes[i][n][1]),
             static_cast<float>(codes[i][n][2] * 256 + codes[i][n][3]));
      }
    }
  }
}

template <class Shape, int kFragments, typename Sink>
OCTET_DEVICE_BODY void WeighFloats(const unsigned char* half, int lane,
                                   const uint32_t (&words)[kFragments][kLaneTokens],
                                   const Sink& sink) {
#pragma unroll
  for (int tile = 0; tile < Shape::kTiles; ++tile) {
    float values[kFragments][4] = {};
#pragma unroll
    for (int step = 0; step < kBlockTokens / 16; ++step) {
      uint32_t a[4];
      const int row = 16 * step + lane % 8 + lane / 16 * 8;
      hw::ldmatrix_x4_trans(a, half + Shape::Offset(row, 2 * tile + lane / 8 % 2));
#pragma unroll
      for (int n = 0; n < kFragments; ++n) {
        const uint32_t b[2] = {words[n][2 * step], words[n][2 * step + 1]};
        hw::mma_m16n8k16_bf16(values[n], a, b);
      }
    }
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
      sink(tile, n, 0, values[n][0] + values[n][1], values[n][2] + values[n][3]);
    }
  }
}

// Weighted values of the block in `half`, from the weights p. sink_sums(group) is called when the
// sums of a group are known, before its tiles.
template <bool kMasked, class Shape, int kFragments, int kSharedSteps, typename Ready,
          typename Sink>
OCTET_DEVICE_BODY void Weigh(const unsigned char* half, const unsigned char* pairs,
                             const Queries<Shape, kFragments, kSharedSteps>& queries, int position,
                             int lane, const float (&p)[kFragments][kLaneTokens],
                             BlockSums<Shape, kFragments>& sums, const Ready& ready,
                             const Sink& sink) {
#pragma unroll
  for (int group = 0; group < Shape::kGroups; ++group) {
    if constexpr (Shape::kBF16) {
      uint32_t words[kFragments][kLaneTokens];
#pragma unroll
      for (int n = 0; n < kFragments; ++n) WeightFloats<Shape>(n, p, words[n], sums);
      ready(group);
      WeighFloats<Shape>(half, lane, words, sink);
    } else {
      uint32_t words[kFragments][4];
#pragma unroll
      for (int n = 0; n < kFragments; ++n) {
        WeightCodes<kMasked>(pairs, queries, position, group, n, lane, p, words[n], sums);
      }
      ready(group);
      WeighCodes<Shape>(half, group, lane, words, sink);
    }
  }
}

}  // namespace octet::kernels
