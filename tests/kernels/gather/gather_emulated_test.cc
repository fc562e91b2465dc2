// GatherColumns on the device: the bits of the CPU.
#include <algorithm>
#include <numeric>
#include <random>

#include "kernels/gather/gather.h"
#include "tests/kernels/random.h"
#include "tests/kernels/written_rows.h"

namespace octet::kernels::test {
namespace {

class GatherEmulatedTest : public DeviceTest {};

TEST_F(GatherEmulatedTest, HasTheBitsOfTheCpu) {
  std::mt19937 random(1);
  ThreadPool pool(1);
  Stream host(&pool);
  for (const int64_t width : {1, 100, 128, 1037}) {
    for (const int64_t rows : {1, 8, 11}) {
      std::vector<int32_t> order(static_cast<size_t>(width));
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), random);
      order.back() = -1;
      const int64_t x_width = width + 5;
      const std::vector<float> x =
          Normal(rows * x_width, static_cast<uint32_t>(width), 0.0f, 10.0f);
      const int64_t stride = width + 1;
      std::vector<float> expected(static_cast<size_t>(rows * stride));
      GatherColumns({x.data(), order.data(), expected.data(), rows, width, stride, x_width}, host);
      const DeviceArray<float> device(x);
      const DeviceArray<int32_t> places(order);
      const DeviceArray<float> y(std::vector<float>(expected.size()));
      GatherColumns({device.data(), places.data(), y.data(), rows, width, stride, x_width},
                    DeviceStream());
      EXPECT_TRUE(SameBits(y.Read(), expected)) << rows << " x " << width;
    }
  }
}

}  // namespace
}  // namespace octet::kernels::test
