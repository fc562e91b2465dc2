// Steps of attention on a device that are drawn at random (tests/support/dice.h): against double
// precision, and their bits in other company.
#include <gtest/gtest.h>

#include "tests/kernels/attention/compare.h"
#include "tests/kernels/attention/device_attention.h"
#include "tests/kernels/attention/random_steps.h"

namespace octet::kernels::test {
namespace {

using octet::test::Dice;
using Rows = PagedContext::Rows;

constexpr int kCases = 6;

TEST(DeviceAttentionRandom, StepsAreRightAndRowsKeepTheirBits) {
  OCTET_REQUIRE_GPU();
  Dice dice;
  for (int i = 0; i < kCases; ++i) {
    const ContextShape shape = RandomContext({32, 64, 80, 96, 128}, dice);
    const std::vector<Rows> runs = RandomRuns(shape, dice);
    SCOPED_TRACE(Describe(shape, runs));
    const PagedContext context(shape);
    const std::vector<float> step =
        DeviceAttention(context, {.workers = dice.Between(1, 70)}).Attend(runs);
    const Comparison to_double =
        Compare(context, runs, step, dice.Between(1, 24), &PagedContext::Expected::device_bounds);
    ASSERT_EQ(to_double.wrong, 0) << to_double;

    const int64_t workers = dice.Between(1, 40);
    ASSERT_TRUE(SameBits(step, DeviceAttention(context, {.workers = workers}).Attend(runs)))
        << workers << " workers";
    const PagedContext stale(shape, 0xff);
    const std::vector<Rows> alone = {runs[0]};
    const std::vector<float> expected(step.begin(),
                                      step.begin() + runs[0].count * context.q_width());
    ASSERT_TRUE(SameBits(expected, DeviceAttention(stale, {.workers = workers}).Attend(alone)));
    if (runs[0].sequence != 0) continue;
    const DeviceOptions appends{.workers = workers, .appends = true};
    ASSERT_TRUE(SameBits(expected, DeviceAttention(context, appends).Attend(alone)));
  }
}

}  // namespace
}  // namespace octet::kernels::test
