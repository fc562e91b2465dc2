#include "worker/weights/round_to_nearest.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/dtype.h"

namespace octet::worker {
namespace {

// Adding and taking away 1.5 * 2^23 rounds to the nearest integer, ties to even, below 2^22.
constexpr float kRounder = 12582912.0f;
constexpr float kScaleUnit = 0x1p-24f;    // the least f16 above zero
constexpr float kScaleNormal = 0x1p-14f;  // the least f16 with all its bits
constexpr int kLanes = 16;                // partial sums of an error: the order of its addition
constexpr std::array<float, 6> kClips = {1.0f, 0.95f, 0.9f, 0.85f, 0.8f, 0.75f};

// Compiled for several instruction sets and chosen at run time. Products are rounded before they
// are added and lanes stay lanes, so all of them give the same bits. (Sanitizers start after the
// choice.)
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define OCTET_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define OCTET_CLONES
#endif

// Codes as signed numbers lie in [-half, half - 1].
inline float SignedCode(float value, float inverse, float half) {
  const float rounded = (value * inverse + kRounder) - kRounder;
  return std::min(std::max(rounded, -half), half - 1.0f);
}

// Sum of (value - what an int4 code gives back)^2, in lanes.
OCTET_CLONES float SquaredError(const float* values, int64_t count, float scale) {
  const float inverse = 1.0f / scale;
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      const float error = value - SignedCode(value, inverse, 8.0f) * scale;
      lanes[lane] += error * error;
    }
  }
  for (int lane = 0; i < count; ++i, ++lane) {
    const float error = values[i] - SignedCode(values[i], inverse, 8.0f) * scale;
    lanes[lane] += error * error;
  }
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

struct Extremes {
  float lowest = 0.0f;   // at most 0
  float highest = 0.0f;  // at least 0
  float magnitude() const { return std::max(-lowest, highest); }
};

OCTET_CLONES Extremes ExtremesOf(const float* values, int64_t count) {
  float lowest[kLanes] = {};
  float highest[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      lowest[lane] = std::min(lowest[lane], values[i + lane]);
      highest[lane] = std::max(highest[lane], values[i + lane]);
    }
  }
  for (int lane = 0; i < count; ++i, ++lane) {
    lowest[lane] = std::min(lowest[lane], values[i]);
    highest[lane] = std::max(highest[lane], values[i]);
  }
  return {*std::min_element(lowest, lowest + kLanes), *std::max_element(highest, highest + kLanes)};
}

float BestInt4Scale(const float* values, int64_t count, const Extremes& extremes) {
  const float to_seven = extremes.magnitude() / 7.0f;
  const bool positive = extremes.highest >= -extremes.lowest;
  const float to_eight = (positive ? extremes.highest : extremes.lowest) / -8.0f;
  float best = NarrowScale(to_seven);
  if (best == 0.0f || extremes.magnitude() == 0.0f) return best;
  float best_error = std::numeric_limits<float>::infinity();
  for (const float clip : kClips) {
    for (const float full : {to_seven, to_eight}) {
      const float scale = NarrowScale(full * clip);
      const float error = SquaredError(values, count, scale);
      if (error >= best_error) continue;
      best = scale;
      best_error = error;
    }
  }
  return best;
}

OCTET_CLONES void WriteCodes(const float* values, int64_t count, float scale, float half,
                             uint8_t* codes) {
  const float inverse = 1.0f / scale;
  for (int64_t i = 0; i < count; ++i) {
    codes[i] =
        static_cast<uint8_t>(static_cast<int32_t>(SignedCode(values[i], inverse, half) + half));
  }
}

}  // namespace

ColumnSpan SourceColumns(const kernels::LinearShape& shape, int64_t inputs) {
  const ColumnSpan own = {shape.input_begin, shape.input_begin + shape.inputs};
  if (!kernels::IsQuantized(shape.format)) return own;
  const int64_t group_end = (own.end + shape.group - 1) / shape.group * shape.group;
  return {own.begin / shape.group * shape.group, std::min(group_end, inputs)};
}

float NarrowScale(float scale) {
  const float magnitude = std::fabs(scale);
  if (magnitude < kScaleNormal) {
    const float units = std::max(1.0f, std::ceil(magnitude / kScaleUnit));
    return std::copysign(units * kScaleUnit, scale);
  }
  const float narrow = F16ToFloat(FloatToF16(scale));
  return std::isinf(narrow) ? 0.0f : narrow;
}

bool QuantizeRow(const kernels::LinearShape& shape, int64_t inputs, const float* values,
                 uint8_t* codes, float* scales) {
  OCTET_CHECK(kernels::IsQuantized(shape.format) && !shape.asymmetric);
  OCTET_CHECK(shape.scale_format == kernels::ScaleFormat::kF16);
  const bool int4 = shape.format == kernels::WeightFormat::kInt4;
  const ColumnSpan span = SourceColumns(shape, inputs);
  const int64_t own_end = shape.input_begin + shape.inputs;
  for (int64_t begin = span.begin; begin < span.end; begin += shape.group) {
    const int64_t end = std::min(begin + shape.group, span.end);
    const float* group = values + (begin - span.begin);
    const Extremes extremes = ExtremesOf(group, end - begin);
    const float scale = int4 ? BestInt4Scale(group, end - begin, extremes)
                             : NarrowScale(extremes.magnitude() / 127.0f);
    if (scale == 0.0f) return false;
    *scales++ = scale;
    const int64_t kept_begin = std::max(begin, shape.input_begin);
    const int64_t kept_end = std::min(end, own_end);
    WriteCodes(group + (kept_begin - begin), kept_end - kept_begin, scale, int4 ? 8.0f : 128.0f,
               codes + (kept_begin - shape.input_begin));
  }
  return true;
}

}  // namespace octet::worker
