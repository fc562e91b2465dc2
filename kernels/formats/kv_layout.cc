#include "kernels/formats/kv_layout.h"

#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "kernels/formats/kv_quantize.h"

namespace octet::kernels {
namespace {

constexpr float kF16Max = 65504.0f;
constexpr uint16_t kF16Nan = 0x7e00;

// The least f16 that is not below `value`, at most kF16Max. REQUIRES: value >= 0.
uint16_t NarrowUpward(float value) {
  if (value >= kF16Max) return FloatToF16(kF16Max);
  const uint16_t nearest = FloatToF16(value);
  return F16ToFloat(nearest) < value ? nearest + 1 : nearest;
}

// The greatest f16 that is not above `value`, at least -kF16Max and at most kF16Max.
uint16_t NarrowDownward(float value) {
  if (value <= -kF16Max) return FloatToF16(-kF16Max);
  if (value >= kF16Max) return FloatToF16(kF16Max);
  const uint16_t nearest = FloatToF16(value);
  if (F16ToFloat(nearest) <= value) return nearest;
  return (nearest & 0x8000u) != 0 ? nearest + 1 : nearest - 1;
}

// Poison: the token's scores become NaN, where they came from stays visible.
KvScale NotFinite() {
  const float nan = F16ToFloat(kF16Nan);
  return {.scale_bits = kF16Nan, .zero_bits = kF16Nan, .scale = nan, .zero = nan};
}

}  // namespace

// The zero is narrowed first; the scale then covers what is on its wider side, so that a rounded
// zero can not make codes clip. With an exact zero this is (max - min) / 255.
KvScale KvScaleOf(float min, float max, bool finite) {
  if (!finite) return NotFinite();
  KvScale result;
  const float middle = min * 0.5f + max * 0.5f;
  // + 0.0f: a vector of zeros of both signs has one result, whatever the order of comparisons.
  result.zero_bits = FloatToF16(std::clamp(middle, -kF16Max, kF16Max) + 0.0f);
  result.zero = F16ToFloat(result.zero_bits);
  const float reach = std::max(max - result.zero, result.zero - min) + 0.0f;
  result.scale_bits = NarrowUpward(reach / 127.5f);
  result.scale = F16ToFloat(result.scale_bits);
  result.has_codes = result.scale > 0;
  return result;
}

// The zero lies at or below the least value and the scale covers the rest, so that no code clips
// and both extremes, which outlier channels are, come out almost exact.
KvScale KvInt4ScaleOf(float min, float max, bool finite) {
  if (!finite) return NotFinite();
  KvScale result;
  // + 0.0f: as above.
  result.zero_bits = NarrowDownward(min + 0.0f);
  result.zero = F16ToFloat(result.zero_bits);
  result.scale_bits = NarrowUpward((std::max(max - result.zero, 0.0f) + 0.0f) / 15.0f);
  result.scale = F16ToFloat(result.scale_bits);
  result.has_codes = result.scale > 0;
  return result;
}

KvScale KvStaticScaleOf(const uint16_t* given, bool finite) {
  if (!finite) return NotFinite();
  const float scale = F16ToFloat(given[0]);
  return {.scale_bits = given[0],
          .zero_bits = given[1],
          .scale = scale,
          .zero = F16ToFloat(given[1]),
          .has_codes = scale > 0};
}

namespace {

void WriteInt8Codes(const float* values, int64_t head_dim, const KvScale& s, int8_t* codes) {
  for (int64_t i = 0; i < head_dim; ++i) {
    // 127.5 is reached and would round to 128: it is half a step off either way.
    const float code =
        s.has_codes ? std::clamp((values[i] - s.zero) / s.scale, -128.0f, 127.0f) : 0;
    codes[i] = static_cast<int8_t>(std::nearbyint(code));
  }
}

}  // namespace

void QuantizeKvVectorStatic(const float* values, int64_t head_dim, const uint16_t* given,
                            int8_t* codes, uint16_t* pair) {
  const bool finite =
      std::all_of(values, values + head_dim, [](float value) { return std::isfinite(value); });
  const KvScale s = KvStaticScaleOf(given, finite);
  pair[0] = s.scale_bits;
  pair[1] = s.zero_bits;
  WriteInt8Codes(values, head_dim, s, codes);
}

void QuantizeKvVector(const float* values, int64_t head_dim, int8_t* codes, uint16_t* scale,
                      uint16_t* zero) {
  float min = values[0];
  float max = values[0];
  bool finite = true;
  for (int64_t i = 0; i < head_dim; ++i) {
    min = std::min(min, values[i]);
    max = std::max(max, values[i]);
    finite = finite && std::isfinite(values[i]);
  }
  const KvScale s = KvScaleOf(min, max, finite);
  *scale = s.scale_bits;
  *zero = s.zero_bits;
  WriteInt8Codes(values, head_dim, s, codes);
}

void QuantizeKvVectorInt4(const float* values, int64_t head_dim, uint8_t* codes, uint16_t* pairs) {
  for (int64_t begin = 0; begin < head_dim; begin += kKvInt4Group, pairs += 2) {
    const int64_t end = std::min(begin + kKvInt4Group, head_dim);
    const auto [min, max] = std::minmax_element(values + begin, values + end);
    const bool finite =
        std::all_of(values + begin, values + end, [](float value) { return std::isfinite(value); });
    const KvScale s = KvInt4ScaleOf(*min, *max, finite);
    pairs[0] = s.scale_bits;
    pairs[1] = s.zero_bits;
    for (int64_t i = begin; i < end; ++i) {
      const float code = s.has_codes ? std::clamp((values[i] - s.zero) / s.scale, 0.0f, 15.0f) : 0;
      const auto nibble = static_cast<uint8_t>(std::nearbyint(code));
      codes[i / 2] = i % 2 == 0 ? nibble : static_cast<uint8_t>(codes[i / 2] | nibble << 4);
    }
  }
}

void DequantizeKvVectorInt4(const uint8_t* codes, const uint16_t* pairs, int64_t head_dim,
                            float* values) {
  for (int64_t i = 0; i < head_dim; ++i) {
    const uint16_t* pair = pairs + i / kKvInt4Group * 2;
    const int code = codes[i / 2] >> (i % 2 * 4) & 0x0f;
    values[i] = F16ToFloat(pair[0]) * static_cast<float>(code) + F16ToFloat(pair[1]);
  }
}

}  // namespace octet::kernels
