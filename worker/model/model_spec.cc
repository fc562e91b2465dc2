#include "worker/model/model_spec.h"

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

}  // namespace

std::vector<float> RopeSpec::InverseFrequencies(int64_t head_dim) const {
  OCTET_CHECK_GT(head_dim, 0);
  OCTET_CHECK_EQ(head_dim % 2, 0);
  std::vector<float> table(head_dim / 2);
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    double inverse = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    if (type == RopeType::kLinear) inverse /= factor;
    if (type == RopeType::kLlama3) inverse = Llama3Frequency(*this, inverse);
    table[i] = static_cast<float>(inverse);
  }
  return table;
}

}  // namespace octet::worker
