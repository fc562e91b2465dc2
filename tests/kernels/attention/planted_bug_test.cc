// What a planted bug must make fail: a decode row, and a chunk in a wide tile.
#include <gtest/gtest.h>

#include "tests/kernels/attention/compare.h"
#include "tests/kernels/attention/device_attention.h"

namespace octet::kernels::test {
namespace {

TEST(PlantedAttentionBug, IsFound) {
  OCTET_REQUIRE_GPU();
  const PagedContext context({KvFormat::kInt8, 2, 1, 128, 0, {600}});
  const std::vector<PagedContext::Rows> runs = {{0, 599, 1}, {0, 580, 20}};
  const std::vector<float> got = DeviceAttention(context, {.workers = 1}).Attend(runs);
  const Comparison to_double =
      Compare(context, runs, got, 1, &PagedContext::Expected::device_bounds);
  EXPECT_EQ(to_double.wrong, 0) << to_double;
}

}  // namespace
}  // namespace octet::kernels::test
