// Angles and rotation on the device: the bits of the CPU.
#include "kernels/rope/rope.h"

#include <cmath>

#include "tests/kernels/device_array.h"
#include "tests/kernels/random.h"

namespace octet::kernels::test {
namespace {

class RopeEmulatedTest : public DeviceTest {};

TEST_F(RopeEmulatedTest, AnglesAreTheCpus) {
  const std::vector<int32_t> positions = {0, 1, 17, 4095, 131071, 4000000};
  const std::vector<int32_t> table_of_row = {0, 1, 0, -1, 1, 1};
  const auto rows = static_cast<int64_t>(positions.size());
  for (int64_t half : {1, 20, 64, 128}) {
    std::vector<float> inverse;  // two tables
    for (const double base : {10000.0, 77000.0}) {
      for (int64_t i = 0; i < half; ++i) {
        inverse.push_back(static_cast<float>(std::pow(base, -static_cast<double>(i) / half)));
      }
    }
    RopeAnglesArgs args{.magnitude = 1.25f, .rows = rows, .rotary_dim = 2 * half};
    std::vector<float> cos(rows * half), sin(rows * half);
    args.positions = positions.data();
    args.table_of_row = table_of_row.data();
    args.inverse_frequency = inverse.data();
    args.cos = cos.data();
    args.sin = sin.data();
    ThreadPool pool(1);
    Stream cpu(&pool);
    RopeAngles(args, cpu);

    const DeviceArray<int32_t> device_positions(positions), device_tables(table_of_row);
    const DeviceArray<float> device_inverse(inverse);
    const DeviceArray<float> device_cos(rows * half), device_sin(rows * half);
    args.positions = device_positions.data();
    args.table_of_row = device_tables.data();
    args.inverse_frequency = device_inverse.data();
    args.cos = device_cos.data();
    args.sin = device_sin.data();
    RopeAngles(args, DeviceStream());
    const std::vector<float> got_cos = device_cos.Read(), got_sin = device_sin.Read();
    for (size_t i = 0; i < cos.size(); ++i) {
      // A device's double may round to the neighbour, before it is scaled.
      EXPECT_NEAR(got_cos[i], cos[i], 0x1p-23 * std::abs(cos[i]));
      EXPECT_NEAR(got_sin[i], sin[i], 0x1p-23 * std::abs(sin[i]));
    }
  }
}

TEST_F(RopeEmulatedTest, RotationHasTheBitsOfTheCpu) {
  struct Case {
    int64_t heads, dim, rotary, gap;
  };
  for (const Case& c :
       {Case{3, 32, 32, 0}, Case{2, 64, 64, 4}, Case{5, 80, 32, 0}, Case{2, 96, 96, 0},
        Case{9, 128, 128, 0}, Case{3, 64, 40, 7}, Case{2, 64, 10, 0}, Case{1, 7, 2, 0}}) {
    const int64_t rows = 3, stride = c.heads * c.dim + c.gap, half = c.rotary / 2;
    std::vector<float> x = Normal(rows * stride, 5);
    const std::vector<float> cos = Normal(rows * half, 6), sin = Normal(rows * half, 7);
    const DeviceArray<float> device_x(x), device_cos(cos), device_sin(sin);
    Rope({device_x.data(), stride, device_cos.data(), device_sin.data(), rows, c.heads, c.dim,
          c.rotary},
         DeviceStream());
    ThreadPool pool(1);
    Stream cpu(&pool);
    Rope({x.data(), stride, cos.data(), sin.data(), rows, c.heads, c.dim, c.rotary}, cpu);
    EXPECT_TRUE(SameBits(device_x.Read(), x)) << c.heads << " heads of " << c.dim;
  }
}

}  // namespace
}  // namespace octet::kernels::test
