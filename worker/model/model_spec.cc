#include "worker/model/model_spec.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace octet::worker {
namespace {

// Long wavelengths are stretched by `factor`, short ones kept, those between blended.
double Llama3Frequency(const RopeSpec& rope, double inverse) {
  const double wavelength = 2.0 * std::numbers::pi / inverse;
  const auto original = static_cast<double>(rope.original_context);
  if (wavelength < original / rope.high_freq_factor) return inverse;
  if (wavelength > original / rope.low_freq_factor) return inverse / rope.factor;
  const double smooth = (original / wavelength - rope.low_freq_factor) /
                        (rope.high_freq_factor - rope.low_freq_factor);
  return (1.0 - smooth) * inverse / rope.factor + smooth * inverse;
}

// The base of a sequence whose prompt has `length` tokens.
double DynamicTheta(const RopeSpec& rope, int64_t head_dim, int64_t length) {
  if (length <= rope.original_context) return rope.theta;
  double stretch = 0;
  if (rope.type == RopeType::kDynamic) {
    const double ratio = static_cast<double>(length) / static_cast<double>(rope.original_context);
    stretch = rope.factor * ratio - (rope.factor - 1.0);
  } else {
    // 2^(ceil(log2(length / original)) + 1) - 1
    double power = 2.0;
    for (int64_t reach = rope.original_context; reach < length; reach *= 2) power *= 2.0;
    stretch = power - 1.0;
  }
  const auto dim = static_cast<double>(head_dim);
  return rope.theta * std::pow(stretch, dim / (dim - 2.0));
}

// The pairs [low, high] between which yarn passes from the trained frequencies to stretched ones.
struct YarnRamp {
  double low = 0.0;
  double high = 0.0;

  YarnRamp(const RopeSpec& rope, int64_t head_dim) {
    const auto dim = static_cast<double>(head_dim);
    // The pair that makes `turns` turns within the trained length.
    const auto pair_of = [&](double turns) {
      const double wavelength = static_cast<double>(rope.original_context) / turns;
      return dim * std::log(wavelength / (2.0 * std::numbers::pi)) / (2.0 * std::log(rope.theta));
    };
    low = pair_of(rope.beta_fast);
    high = pair_of(rope.beta_slow);
    if (rope.truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, dim - 1.0);
    if (low == high) high += 0.001;
  }
  double At(double pair) const { return std::clamp((pair - low) / (high - low), 0.0, 1.0); }
};

}  // namespace

void RopeSpec::FillInverseFrequencies(int64_t head_dim, int64_t rope_length, float* out) const {
  OCTET_CHECK_GT(head_dim, 0);
  OCTET_CHECK_EQ(head_dim % 2, 0);
  const double base = depends_on_length() ? DynamicTheta(*this, head_dim, rope_length) : theta;
  const YarnRamp ramp(*this, head_dim);
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    double inverse = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    if (type == RopeType::kLinear) inverse /= factor;
    if (type == RopeType::kLlama3) inverse = Llama3Frequency(*this, inverse);
    if (type == RopeType::kYarn) {
      const double stretched = ramp.At(static_cast<double>(i));
      inverse = inverse / factor * stretched + inverse * (1.0 - stretched);
    }
    out[i] = static_cast<float>(inverse);
  }
}

std::vector<float> RopeSpec::InverseFrequencies(int64_t head_dim, int64_t rope_length) const {
  std::vector<float> table(head_dim / 2);
  FillInverseFrequencies(head_dim, rope_length, table.data());
  return table;
}

}  // namespace octet::worker
