#include "worker/weights/key_guard.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <vector>

#include "base/check.h"
#include "worker/model/decoder_weights.h"

namespace octet::worker {
namespace {

// The mean of exp(i * frequency * position) over positions [0, count).
std::complex<double> MeanTurn(double frequency, int64_t count) {
  const double half = frequency / 2;
  const auto turns = static_cast<double>(count);
  const double length =
      std::sin(half) == 0.0 ? 1.0 : std::sin(half * turns) / (turns * std::sin(half));
  return std::polar(1.0, half * (turns - 1)) * length;
}

// The exponent of a pair whose bias `bias` has a mean turn `mean`.
int ExponentOf(std::complex<double> bias, std::complex<double> mean) {
  const double left = std::abs(bias) * std::sqrt(std::max(0.0, 1 - std::norm(mean)) / 2);
  const double wanted = std::round(std::log2(std::max(left / kGuardedKeyLevel, 1.0)));
  return static_cast<int>(std::min<double>(wanted, kGuardExponentMax));
}

}  // namespace

void FillKeyGuard(const ModelSpec& spec, const ShardPlan& shard, const float* qkv_bias,
                  float* guard) {
  OCTET_CHECK(HasKeyGuard(spec));
  const int64_t dim = spec.head_dim;
  const int64_t half = dim / 2;
  float* const k_factor = guard + shard.heads() * dim;
  float* const k_taken = k_factor + shard.kv_heads() * dim;
  std::fill(guard, k_taken, 1.0f);
  std::fill(k_taken, k_taken + shard.kv_heads() * dim, 0.0f);
  if (qkv_bias == nullptr) return;
  const std::vector<float> frequencies = spec.rope.InverseFrequencies(dim);
  for (const kernels::HeadGroup& group : shard.head_groups) {
    const float* const k_bias = qkv_bias + (shard.heads() + group.kv_head) * dim;
    for (int64_t i = 0; i < half; ++i) {
      const std::complex<double> bias(k_bias[i], k_bias[i + half]);
      if (std::abs(bias) < kOutlierBias) continue;
      const std::complex<double> mean = MeanTurn(frequencies[i], spec.context);
      const std::complex<double> taken = bias * mean * spec.rope.magnitude;
      k_taken[group.kv_head * dim + i] = static_cast<float>(taken.real());
      k_taken[group.kv_head * dim + i + half] = static_cast<float>(taken.imag());
      const float factor = std::ldexp(1.0f, ExponentOf(bias * spec.rope.magnitude, mean));
      for (const int64_t channel : {i, i + half}) {
        k_factor[group.kv_head * dim + channel] = 1.0f / factor;
        for (int64_t head = 0; head < group.head_count; ++head) {
          guard[(group.head_begin + head) * dim + channel] = factor;
        }
      }
    }
  }
}

void BalanceHeadNorms(int64_t head_dim, float* q_norm, float* k_norm) {
  const int64_t half = head_dim / 2;
  std::vector<float> sizes(half);
  for (int64_t i = 0; i < half; ++i) sizes[i] = std::hypot(k_norm[i], k_norm[i + half]);
  std::vector<float> sorted = sizes;
  std::nth_element(sorted.begin(), sorted.begin() + half / 2, sorted.end());
  const float median = sorted[half / 2];
  if (!(median > 0)) return;
  for (int64_t i = 0; i < half; ++i) {
    if (sizes[i] < kOutlierNormRatio * median) continue;
    const auto wanted = static_cast<int>(std::round(std::log2(sizes[i] / median)));
    const float factor = std::ldexp(1.0f, std::min(wanted, kGuardExponentMax));
    const auto is_exact = [&](int64_t c) {
      return k_norm[c] / factor * factor == k_norm[c] && std::isfinite(q_norm[c] * factor);
    };
    if (!is_exact(i) || !is_exact(i + half)) continue;
    for (const int64_t channel : {i, i + half}) {
      k_norm[channel] /= factor;
      q_norm[channel] *= factor;
    }
  }
}

}  // namespace octet::worker
