// SiluMul and Relu on the device: the bits of the CPU.
#include "kernels/activation/activation.h"
#include "tests/kernels/random.h"
#include "tests/kernels/written_rows.h"

namespace octet::kernels::test {
namespace {

class ActivationEmulatedTest : public DeviceTest {
 protected:
  static std::vector<float> OnCpu(const std::vector<float>& gate_up, int64_t rows, int64_t width) {
    std::vector<float> y(static_cast<size_t>(rows * width));
    ThreadPool pool(1);
    Stream stream(&pool);
    SiluMul({gate_up.data(), y.data(), rows, width}, stream);
    return y;
  }
  static std::vector<float> OnDevice(const std::vector<float>& gate_up, int64_t rows, int64_t width,
                                     const ActivationRows& out = {}) {
    const DeviceArray<float> device(gate_up);
    const DeviceArray<float> y(rows * width);
    SiluMul({device.data(), y.data(), rows, width, out}, DeviceStream());
    return y.Read();
  }
};

TEST_F(ActivationEmulatedTest, HasTheBitsOfTheCpu) {
  for (int64_t width : {1, 15, 24, 100, 1000, 1024, 1037}) {
    const int64_t rows = 3;
    const std::vector<float> x =
        Normal(rows * 2 * width, static_cast<uint32_t>(width), 0.0f, 10.0f);
    EXPECT_TRUE(SameBits(OnDevice(x, rows, width), OnCpu(x, rows, width))) << width;
  }
}

TEST_F(ActivationEmulatedTest, LargeGatesSaturate) {
  const std::vector<float> x = {200.0f, -200.0f, -87.5f, INFINITY, 3.0f, 3.0f, 3.0f, 3.0f};
  EXPECT_TRUE(SameBits(OnDevice(x, 1, 4), OnCpu(x, 1, 4)));
}

TEST_F(ActivationEmulatedTest, WritesWhatALinearReads) {
  for (const ActivationFormat format : kActivations) {
    for (int64_t width : {7, 24, 1000, 2560}) {
      std::vector<float> x = Normal(2 * 2 * width, 3, 0.0f, 5.0f);
      x[2] = INFINITY;
      for (int64_t group : {32, 128, 6, 4096}) {  // the last: leaves, longer than a warp holds
        const WrittenRows written(format, width, 2, group);
        const std::vector<float> y = OnDevice(x, 2, width, written.view());
        EXPECT_TRUE(SameBits(y, OnCpu(x, 2, width)));
        written.ExpectHold(y);
        const WrittenRows alone(format, width, 2, group);  // without plain floats
        const DeviceArray<float> device(x);
        SiluMul({.gate_up = device.data(), .rows = 2, .width = width, .out = alone.view()},
                DeviceStream());
        alone.ExpectHold(y);
      }
    }
  }
}

TEST_F(ActivationEmulatedTest, ReluHasTheBitsOfTheCpuAndWritesWhatALinearReads) {
  for (int64_t width : {7, 24, 1000, 2560}) {
    std::vector<float> x = Normal(2 * width, 3, 0.0f, 5.0f);
    x[1] = -0.0f;
    x[2] = INFINITY;
    std::vector<float> expected(x.size());
    ThreadPool pool(1);
    Stream cpu(&pool);
    Relu({.x = x.data(), .y = expected.data(), .rows = 2, .width = width}, cpu);
    const DeviceArray<float> device(x);
    for (const ActivationFormat format : kActivations) {
      const WrittenRows written(format, width, 2, 128);
      const DeviceArray<float> y(2 * width);
      Relu({device.data(), y.data(), 2, width, written.view()}, DeviceStream());
      EXPECT_TRUE(SameBits(y.Read(), expected)) << width;
      written.ExpectHold(expected);
    }
  }
}

}  // namespace
}  // namespace octet::kernels::test
