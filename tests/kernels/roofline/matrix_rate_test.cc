// The matrix loop really makes the products that its rate is computed from: an element of a product
// of ones is the depth of its sum. Exact: integers below 2^24.
#include "kernels/roofline/matrix_rate.h"

#include "tests/support/test_device.h"

namespace octet::kernels {
namespace {

void ExpectElements(bool int8) {
  OCTET_REQUIRE_GPU();
  Gpu& gpu = *test::TestGpu();
  constexpr int64_t kBlocks = 2;
  const DeviceBuffer elements = DeviceBuffer::Allocate(kBlocks * sizeof(float)).value();
  const MatrixLoopArgs args = {
      .int8 = int8, .blocks = kBlocks, .iterations = 3, .elements = elements.as<float>()};
  MatrixLoop(args, gpu.stream());
  const double expected = MatrixLoopElement(args, gpu.stream());
  for (int64_t i = 0; i < kBlocks; ++i) {
    if (int8) {
      EXPECT_EQ(test::ToHost<int32_t>(elements, gpu.stream())[i], expected);
    } else {
      EXPECT_EQ(test::ToHost<float>(elements, gpu.stream())[i], expected);
    }
  }
  EXPECT_GT(MatrixLoopOperations(args, gpu.stream()), 0);
}

TEST(MatrixLoop, MakesItsProducts) {
  ExpectElements(false);
  ExpectElements(true);
}

}  // namespace
}  // namespace octet::kernels
