// What a planted bug must make fail: a decode row, and a chunk in a wide tile.
#include <gtest/gtest.h>

#include "tests/kernels/attention/device_attention.h"

namespace octet::kernels::test {
namespace {

TEST(PlantedAttentionBug, IsFound) {
  OCTET_REQUIRE_GPU();
  const PagedContext context({KvFormat::kInt8, 2, 1, 32, 0, {250}});
  const std::vector<PagedContext::Rows> runs = {{0, 249, 1}, {0, 100, 20}};
  const std::vector<float> got = DeviceAttention(context, {.workers = 1}).Attend(runs);
  const auto width = static_cast<size_t>(context.q_width());
  int wrong = 0;
  for (size_t row = 0; row < 21; ++row) {
    const auto expected = context.Reference(0, row == 0 ? 249 : 99 + static_cast<int64_t>(row));
    for (size_t d = 0; d < width; ++d) {
      wrong += !(std::abs(got[row * width + d] - expected.values[d]) <= expected.device_bounds[d]);
    }
  }
  EXPECT_EQ(wrong, 0) << "values off their bounds";
}

}  // namespace
}  // namespace octet::kernels::test
