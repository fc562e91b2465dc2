#include <algorithm>
#include <cmath>

#include "kernels/rope/rope.h"

namespace octet::kernels::cpu {
namespace {

void RotateHead(float* low, float* high, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = low[i];
    const float b = high[i];
    low[i] = a * cos[i] - b * sin[i];
    high[i] = b * cos[i] + a * sin[i];
  }
}

}  // namespace

void RopeAngles(const RopeAnglesArgs& args, Stream& stream) {
  const int64_t half = args.rotary_dim / 2;
  stream.pool().ParallelFor(args.rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const auto position = static_cast<float>(args.positions[row]);
      const int64_t table = args.table_of_row == nullptr ? 0 : args.table_of_row[row];
      const float* frequency = args.inverse_frequency + std::max<int64_t>(table, 0) * half;
      for (int64_t i = 0; i < half; ++i) {
        const double angle = position * frequency[i];  // rounded to f32 first
        args.cos[row * half + i] = static_cast<float>(std::cos(angle)) * args.magnitude;
        args.sin[row * half + i] = static_cast<float>(std::sin(angle)) * args.magnitude;
      }
    }
  });
}

void Rope(const RopeArgs& args, Stream& stream) {
  const int64_t half = args.rotary_dim / 2;
  stream.pool().ParallelFor(args.rows, 4, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* cos = args.cos + row * half;
      const float* sin = args.sin + row * half;
      for (int64_t head = 0; head < args.heads; ++head) {
        float* x = args.x + row * args.x_stride + head * args.head_dim;
        RotateHead(x, x + half, cos, sin, half);
      }
    }
  });
}

}  // namespace octet::kernels::cpu
