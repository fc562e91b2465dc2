// The portable family: plain C++ that any compiler can vectorize, and the reading of panel.h's
// definition that the others are tested against.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "kernels/linear/leaf_sum.h"
#include "kernels/linear/panel.h"

namespace octet::kernels {
namespace {

constexpr int64_t kStripInputs = 32;  // inputs that the float modes dequantize at a time

// Adding and subtracting 1.5 * 2^23 rounds to an integer, ties to even; |value| < 2^22.
int32_t RoundToInt(float value) {
  const float rounded = (value + 0x1.8p23f) - 0x1.8p23f;
  return static_cast<int32_t>(rounded);
}

void LoadScales(ScaleFormat format, int64_t width, const std::byte* from, float* to) {
  for (int64_t i = 0; i < width; ++i) {
    if (format == ScaleFormat::kF32) {
      std::memcpy(to + i, from + i * 4, 4);
    } else {
      uint16_t bits = 0;
      std::memcpy(&bits, from + i * 2, 2);
      to[i] = F16ToFloat(bits);
    }
  }
}

struct GroupScales {
  float scale[kPanelOutputs];
  float offset[kPanelOutputs];  // asymmetric only

  GroupScales(const PanelArgs& args, const Segment& segment) {
    const int64_t bytes = args.width * (args.scale_format == ScaleFormat::kF32 ? 4 : 2);
    const std::byte* from = args.panel + segment.scales_at * args.width;
    LoadScales(args.scale_format, args.width, from, scale);
    if (args.asymmetric) LoadScales(args.scale_format, args.width, from + bytes, offset);
  }
};

// Spreads four bytes of each output to [4][kPanelOutputs]: byte j, shifted and masked.
void SpreadBytes(const std::byte* from, int64_t width, int shift, uint32_t mask, int16_t* to) {
  uint32_t words[kPanelOutputs];
  std::memcpy(words, from, static_cast<size_t>(width) * 4);
  for (int j = 0; j < 4; ++j) {
    for (int64_t i = 0; i < width; ++i) {
      to[j * kPanelOutputs + i] = static_cast<int16_t>((words[i] >> (j * 8 + shift)) & mask);
    }
  }
}

// Spreads the chunk of a segment that begins at its input `done` to [kChunkInputs][kPanelOutputs].
void UnpackChunk(const PanelArgs& args, const Segment& segment, int64_t done, int16_t* to) {
  const bool int4 = args.format == WeightFormat::kInt4;
  const int64_t bytes_per_output = segment.codes_at + (int4 ? done / 2 : done);
  const std::byte* from = args.panel + bytes_per_output * args.width;
  const uint32_t mask = int4 ? 0x0f : 0xff;
  SpreadBytes(from, args.width, 0, mask, to);
  SpreadBytes(int4 ? from : from + args.width * 4, args.width, int4 ? 4 : 0, mask,
              to + 4 * kPanelOutputs);
}

// Adds one row times a chunk of codes to the sums of kVectorOutputs outputs. Unsigned, because a
// sum may pass through any value before it reaches its own.
void MultiplyChunk(const int16_t* codes, const int16_t* q, uint32_t* sum) {
  uint32_t lanes[kVectorOutputs];
  std::copy_n(sum, kVectorOutputs, lanes);
  for (int64_t j = 0; j < kChunkInputs; ++j) {
    const int16_t* code = codes + j * kPanelOutputs;
    for (int64_t i = 0; i < kVectorOutputs; ++i) {
      lanes[i] += static_cast<uint32_t>(int32_t{code[i]} * int32_t{q[j]});
    }
  }
  std::copy_n(lanes, kVectorOutputs, sum);
}

void AddInt8Segment(const PanelArgs& args, const Segment& segment, int64_t index, float* leaf) {
  const int64_t rows = args.block.rows;
  uint32_t sum[kBlockRows][kPanelOutputs];
  for (int64_t row = 0; row < rows; ++row) {
    const int32_t from = args.asymmetric ? 0 : args.block.sums[index * rows + row];
    std::fill_n(sum[row], args.width, static_cast<uint32_t>(from));
  }
  for (int64_t done = 0; done < segment.inputs; done += kChunkInputs) {
    int16_t codes[kChunkInputs * kPanelOutputs];
    const int64_t padded = segment.padded_begin + done;
    UnpackChunk(args, segment, done, codes);
    for (int64_t row = 0; row < rows; ++row) {
      int16_t q[kChunkInputs];
      for (int64_t j = 0; j < kChunkInputs; ++j) {
        q[j] = args.block.codes[((padded + j) / 4 * rows + row) * 4 + j % 4];
      }
      for (int64_t first = 0; first < args.width; first += kVectorOutputs) {
        MultiplyChunk(codes + first, q, sum[row] + first);
      }
    }
  }
  const GroupScales scales(args, segment);
  for (int64_t row = 0; row < rows; ++row) {
    const float x_scale = args.block.scales[index * rows + row];
    const float x_sum = std::bit_cast<float>(args.block.sums[index * rows + row]);
    float* to = leaf + row * kPanelOutputs;
    for (int64_t i = 0; i < args.width; ++i) {
      const auto exact = static_cast<float>(static_cast<int32_t>(sum[row][i]));
      to[i] += exact * (scales.scale[i] * x_scale);
      if (args.asymmetric) to[i] += scales.offset[i] * x_sum;
    }
  }
}

// Converts inputs [done, done + count) of float weights to [count][kPanelOutputs].
void LoadValues(const PanelArgs& args, const Segment& segment, int64_t done, int64_t count,
                float* to) {
  const int64_t bytes = ValueBytes(args.format);
  const std::byte* from = args.panel + (segment.codes_at + done * bytes) * args.width;
  for (int64_t k = 0; k < count; ++k, from += args.width * bytes, to += kPanelOutputs) {
    if (args.format == WeightFormat::kF32) {
      std::memcpy(to, from, static_cast<size_t>(args.width) * 4);
      continue;
    }
    uint16_t bits[kPanelOutputs];
    std::memcpy(bits, from, static_cast<size_t>(args.width) * 2);
    const bool f16 = args.format == WeightFormat::kF16;
    for (int64_t i = 0; i < args.width && f16; ++i) to[i] = F16ToFloat(bits[i]);
    for (int64_t i = 0; i < args.width && !f16; ++i) to[i] = BF16ToFloat(bits[i]);
  }
}

// Dequantizes inputs [done, done + count) of a segment to [count][kPanelOutputs].
void LoadCodes(const PanelArgs& args, const Segment& segment, int64_t done, int64_t count,
               float* to) {
  const GroupScales scales(args, segment);
  const int zero = args.asymmetric ? 0 : args.format == WeightFormat::kInt4 ? 8 : 128;
  int16_t codes[kStripInputs * kPanelOutputs];
  for (int64_t k = 0; k < count; k += kChunkInputs) {
    UnpackChunk(args, segment, done + k, codes + k * kPanelOutputs);
  }
  for (int64_t k = 0; k < count; ++k) {
    for (int64_t i = 0; i < args.width; ++i) {
      const int64_t at = k * kPanelOutputs + i;
      const float product = scales.scale[i] * static_cast<float>(codes[at] - zero);
      to[at] = args.asymmetric ? product + scales.offset[i] : product;
    }
  }
}

void AddFloatSegment(const PanelArgs& args, const Segment& segment, float* leaf) {
  const int64_t rows = args.block.rows;
  float strip[kStripInputs * kPanelOutputs];
  for (int64_t done = 0; done < segment.inputs; done += kStripInputs) {
    const int64_t count = std::min<int64_t>(kStripInputs, segment.inputs - done);
    if (IsQuantized(args.format)) {
      LoadCodes(args, segment, done, count, strip);
    } else {
      LoadValues(args, segment, done, count, strip);
    }
    for (int64_t row = 0; row < rows; ++row) {
      float* to = leaf + row * kPanelOutputs;
      for (int64_t k = 0; k < count; ++k) {
        const float x = args.block.values[(segment.begin + done + k) * rows + row];
        const float* w = strip + k * kPanelOutputs;
        for (int64_t i = 0; i < args.width; ++i) to[i] += w[i] * x;
      }
    }
  }
}

struct RowScale {
  float scale = 0;    // amax / 127
  float inverse = 0;  // 127 / amax
};

RowScale ScaleOf(uint32_t amax_bits) {
  if (amax_bits >= 0x7f800000u) return {std::bit_cast<float>(0x7fc00000u), 0};
  const auto amax = std::bit_cast<float>(amax_bits);
  if (amax < kAmaxMin) return {};
  return {amax / 127.0f, 127.0f / amax};
}

}  // namespace

void QuantizePlain(const QuantizeArgs& args) {
  const int64_t rows = args.block.rows;
  for (int64_t index = args.begin; index < args.end; ++index) {
    const Segment& segment = args.segments[index];
    for (int64_t row = 0; row < rows; ++row) {
      const float* x = args.x + row * args.x_stride + segment.begin;
      uint32_t amax_bits = 0;  // as integers, so that a NaN is the largest
      for (int64_t k = 0; k < segment.inputs; ++k) {
        amax_bits = std::max(amax_bits, std::bit_cast<uint32_t>(x[k]) & 0x7fffffffu);
      }
      const RowScale scale = ScaleOf(amax_bits);
      int32_t sum = 0;
      for (int64_t k = 0; k < segment.inputs + (-segment.inputs & (kChunkInputs - 1)); ++k) {
        const bool padding = k >= segment.inputs || scale.inverse == 0;
        const int32_t q = padding ? 0 : RoundToInt(x[k] * scale.inverse);
        const int64_t padded = segment.padded_begin + k;
        args.block.codes[(padded / 4 * rows + row) * 4 + padded % 4] = static_cast<int8_t>(q);
        sum += q;
      }
      args.block.scales[index * rows + row] = scale.scale;
      const float x_sum = scale.scale * static_cast<float>(sum);
      args.block.sums[index * rows + row] =
          args.code_offset != 0 ? args.code_offset * sum : std::bit_cast<int32_t>(x_sum);
    }
  }
}

void SumPanelPlain(const PanelArgs& args, float* slots) {
  SumLeaves(args, 0, args.width, slots,
            [&](const Segment& segment, int64_t index, const LeafStep& step) {
              const int64_t rows = args.block.rows;
              if (step.first) ClearSum(step.leaf, rows, 0, args.width);
              if (args.int8_activations) {
                AddInt8Segment(args, segment, index, step.leaf);
              } else {
                AddFloatSegment(args, segment, step.leaf);
              }
              if (step.left != nullptr) AddSum(step.left, step.leaf, rows, 0, args.width);
            });
  StoreRoots(args, slots);
}

}  // namespace octet::kernels
