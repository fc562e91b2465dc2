// The norm on the device.
#include <algorithm>

#include "kernels/norm/head_norm.h"
#include "kernels/norm/norm.h"
#include "tests/kernels/norm/norm_cases.h"
#include "tests/kernels/random.h"
#include "tests/kernels/written_rows.h"

namespace octet::kernels::test {
namespace {

// One, two and more batches of registers; one warp and several; several rows a block; not aligned.
constexpr int64_t kHiddens[] = {1, 7, 24, 33, 512, 1000, 2000, 4097, 8192, 8200, 16420};

int64_t RowsFor(int64_t hidden) { return hidden < 2000 ? 5 : 2; }

// Of norm.h.
double Tolerance(int64_t hidden) {
  const double squares = std::max<double>(16, static_cast<double>(hidden) / 512);
  return 0x1p-24 * (squares + 21) / 2;
}

class NormEmulatedTest : public DeviceTest {
 protected:
  static std::vector<float> Norm(const std::vector<float>& x, const std::vector<float>& weight,
                                 const ActivationRows& out = {}) {
    const DeviceArray<float> device_x(x);
    const DeviceArray<float> device_weight(weight);
    const DeviceArray<float> y(static_cast<int64_t>(x.size()));
    const auto hidden = static_cast<int64_t>(weight.size());
    kernels::Norm({.x = device_x.data(),
                   .weight = device_weight.data(),
                   .y = y.data(),
                   .rows = static_cast<int64_t>(x.size()) / hidden,
                   .hidden = hidden,
                   .eps = kEps,
                   .out = out},
                  DeviceStream());
    return y.Read();
  }

  struct Added {
    std::vector<float> residual;
    std::vector<float> y;
  };
  static Added AddNorm(const std::vector<float>& residual, const std::vector<float>& delta,
                       const std::vector<float>& weight, const std::vector<float>& bias) {
    const DeviceArray<float> device_residual(residual);
    const DeviceArray<float> device_delta(delta);
    const DeviceArray<float> device_weight(weight);
    const DeviceArray<float> device_bias(bias);
    const DeviceArray<float> y(static_cast<int64_t>(residual.size()));
    const auto hidden = static_cast<int64_t>(weight.size());
    kernels::AddNorm({.residual = device_residual.data(),
                      .delta = device_delta.data(),
                      .weight = device_weight.data(),
                      .y = y.data(),
                      .rows = static_cast<int64_t>(residual.size()) / hidden,
                      .hidden = hidden,
                      .eps = kEps,
                      .delta_bias = bias.empty() ? nullptr : device_bias.data()},
                     DeviceStream());
    return {device_residual.Read(), y.Read()};
  }
};

TEST_F(NormEmulatedTest, MatchesDoublePrecisionAndARowStandsAlone) {
  for (int64_t hidden : kHiddens) {
    const int64_t rows = RowsFor(hidden);
    const std::vector<float> x = Normal(rows * hidden, static_cast<uint32_t>(hidden), 0.1f, 3.0f);
    const std::vector<float> weight = Normal(hidden, 77, 1.0f, 0.2f);
    const std::vector<float> y = Norm(x, weight);
    ExpectNormed(y, x, weight, Tolerance(hidden));

    const int64_t last = (rows - 1) * hidden;
    EXPECT_TRUE(SameBits(Norm({x.begin() + last, x.end()}, weight), {y.begin() + last, y.end()}))
        << hidden;
  }
}

TEST_F(NormEmulatedTest, FusedAddIsAddThenNorm) {
  for (int64_t hidden : {7, 24, 1000, 2000, 8200, 16420}) {
    const int64_t count = RowsFor(hidden) * hidden;
    const std::vector<float> x = Normal(count, 1);
    const std::vector<float> delta = Normal(count, 2);
    const std::vector<float> weight = Normal(hidden, 3);
    const std::vector<float> bias = Normal(hidden, 4);
    std::vector<float> sum = x;
    for (int64_t i = 0; i < count; ++i) sum[i] += delta[i];
    const Added plain = AddNorm(x, delta, weight, {});
    EXPECT_TRUE(SameBits(plain.residual, sum));
    EXPECT_TRUE(SameBits(plain.y, Norm(sum, weight)));

    for (int64_t i = 0; i < count; ++i) sum[i] += bias[i % hidden];
    const Added biased = AddNorm(x, delta, weight, bias);
    EXPECT_TRUE(SameBits(biased.residual, sum));
    EXPECT_TRUE(SameBits(biased.y, Norm(sum, weight)));
  }
}

TEST_F(NormEmulatedTest, InPlace) {
  const std::vector<float> x = Normal(3 * 1000, 5);
  const std::vector<float> weight = Normal(1000, 6);
  const DeviceArray<float> y(x);
  const DeviceArray<float> device_weight(weight);
  kernels::Norm({y.data(), device_weight.data(), y.data(), 3, 1000, kEps}, DeviceStream());
  EXPECT_TRUE(SameBits(y.Read(), Norm(x, weight)));
}

TEST_F(NormEmulatedTest, WritesWhatALinearReads) {
  for (const ActivationFormat format : kActivations) {
    for (int64_t hidden : {7, 33, 200, 1000, 2560}) {
      const int64_t rows = RowsFor(hidden);
      std::vector<float> x = Normal(rows * hidden, 9, 0.0f, 2.0f);
      std::fill_n(x.begin() + hidden, hidden, 0.0f);
      const std::vector<float> weight = Normal(hidden, 10);
      for (int64_t group : {32, 128, 6}) {
        const WrittenRows written(format, hidden, rows, group);
        written.ExpectHold(Norm(x, weight, written.view()));
      }
    }
  }
}

TEST_F(NormEmulatedTest, NeedNotWritePlainFloats) {
  const int64_t rows = 3, hidden = 1000;
  const std::vector<float> x = Normal(rows * hidden, 13);
  const std::vector<float> weight = Normal(hidden, 14);
  const DeviceArray<float> device_x(x), device_weight(weight), residual(x), delta(x);
  const WrittenRows norm(ActivationFormat::kBF16, hidden, rows, 128);
  kernels::Norm({.x = device_x.data(),
                 .weight = device_weight.data(),
                 .rows = rows,
                 .hidden = hidden,
                 .eps = kEps,
                 .out = norm.view()},
                DeviceStream());
  norm.ExpectHold(Norm(x, weight));

  const WrittenRows add(ActivationFormat::kInt8, hidden, rows, 128);
  kernels::AddNorm({.residual = residual.data(),
                    .delta = delta.data(),
                    .weight = device_weight.data(),
                    .rows = rows,
                    .hidden = hidden,
                    .eps = kEps,
                    .out = add.view()},
                   DeviceStream());
  add.ExpectHold(Norm(residual.Read(), weight));
}

TEST_F(NormEmulatedTest, WhatIsNotFiniteStaysInItsRow) {
  const int64_t hidden = 1000;
  std::vector<float> x = Normal(2 * hidden, 11);
  const std::vector<float> weight = Normal(hidden, 12);
  x[200] = INFINITY;
  const WrittenRows written(ActivationFormat::kInt8, hidden, 2, 128);
  const std::vector<float> y = Norm(x, weight, written.view());
  EXPECT_TRUE(std::isnan(y[200]));
  ExpectNormed({y.begin() + hidden, y.end()}, {x.begin() + hidden, x.end()}, weight,
               Tolerance(hidden));
  written.ExpectHold(y);
}

// Alone and after an add, on what a linear reads too.
TEST_F(NormEmulatedTest, LayerNormMatchesDoublePrecisionAndARowStandsAlone) {
  for (int64_t hidden : {1, 7, 24, 1000, 4097, 8192, 8200, 16420}) {
    const int64_t rows = RowsFor(hidden);
    const std::vector<float> x = Normal(rows * hidden, static_cast<uint32_t>(hidden), 5.0f, 3.0f);
    const std::vector<float> weight = Normal(hidden, 77, 1.0f, 0.2f);
    const std::vector<float> bias = Normal(hidden, 78);
    const DeviceArray<float> device_weight(weight), device_bias(bias);
    const auto layer_norm = [&](const std::vector<float>& from, const ActivationRows& out) {
      const DeviceArray<float> device_x(from);
      const DeviceArray<float> y(static_cast<int64_t>(from.size()));
      kernels::Norm({.x = device_x.data(),
                     .weight = device_weight.data(),
                     .y = y.data(),
                     .rows = static_cast<int64_t>(from.size()) / hidden,
                     .hidden = hidden,
                     .eps = kEps,
                     .out = out,
                     .centered = true,
                     .bias = device_bias.data()},
                    DeviceStream());
      return y.Read();
    };
    const WrittenRows written(ActivationFormat::kInt8, hidden, rows, 128);
    const std::vector<float> y = layer_norm(x, written.view());
    // Twice the error of a sum of norm.h, of the largest value.
    ExpectLayerNormed(y, x, weight, bias, 4 * Tolerance(hidden));
    written.ExpectHold(y);
    const int64_t last = (rows - 1) * hidden;
    EXPECT_TRUE(SameBits(layer_norm({x.begin() + last, x.end()}, {}), {y.begin() + last, y.end()}));

    const DeviceArray<float> residual(std::vector<float>(x.size(), 0.0f)), delta(x);
    const DeviceArray<float> added(static_cast<int64_t>(x.size()));
    kernels::AddNorm({.residual = residual.data(),
                      .delta = delta.data(),
                      .weight = device_weight.data(),
                      .y = added.data(),
                      .rows = rows,
                      .hidden = hidden,
                      .eps = kEps,
                      .centered = true,
                      .bias = device_bias.data()},
                     DeviceStream());
    EXPECT_TRUE(SameBits(added.Read(), y));
  }
}

TEST_F(NormEmulatedTest, HeadNormIsTheNormOfEachHead) {
  for (int64_t head_dim : {6, 64, 80, 128, 256}) {
    const int64_t rows = 2, heads = 3, kv_heads = 2;
    const int64_t stride = (heads + 2 * kv_heads) * head_dim + 3;
    const std::vector<float> before = Normal(rows * stride, 1, 0.5f, 2.0f);
    const std::vector<float> q_weight = Normal(head_dim, 2, 1.0f, 0.2f);
    const std::vector<float> k_weight = Normal(head_dim, 3, 1.0f, 0.2f);
    const DeviceArray<float> x(before), device_q(q_weight), device_k(k_weight);
    HeadNorm({.x = x.data(),
              .x_stride = stride,
              .q_weight = device_q.data(),
              .k_weight = device_k.data(),
              .rows = rows,
              .heads = heads,
              .kv_heads = kv_heads,
              .head_dim = head_dim,
              .eps = kEps},
             DeviceStream());
    const std::vector<float> after = x.Read();
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t head = 0; head < heads + kv_heads; ++head) {
        const int64_t at = row * stride + head * head_dim;
        ExpectNormed({after.begin() + at, after.begin() + at + head_dim},
                     {before.begin() + at, before.begin() + at + head_dim},
                     head < heads ? q_weight : k_weight, Tolerance(head_dim));
      }
      const int64_t rest = row * stride + (heads + kv_heads) * head_dim;
      EXPECT_TRUE(SameBits({after.begin() + rest, after.begin() + (row + 1) * stride},
                           {before.begin() + rest, before.begin() + (row + 1) * stride}));
    }
  }
}

}  // namespace
}  // namespace octet::kernels::test
