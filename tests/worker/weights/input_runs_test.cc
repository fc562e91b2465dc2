#include "worker/weights/input_runs.h"

#include <gtest/gtest.h>

namespace octet::worker {
namespace {

// Two leaves of 10 and 3 inputs: the first has nine of group 1 and one of group 0.
const std::vector<int32_t> kGroups = {1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 2, 0, 2};
const std::vector<int64_t> kBounds = {0, 10, 13};

TEST(InputRuns, ALeafHasItsInputsByGroupInWholeGroups) {
  EXPECT_EQ(LeafPlaces(kGroups, kBounds), 24) << "8 for one input, 16 for nine";
  const InputRuns runs = MakeInputRuns(kGroups, kBounds, 24);
  const std::vector<int32_t> inputs = {3,  -1, -1, -1, -1, -1, -1, -1, 0,  1,  2,  4,
                                       5,  6,  7,  8,  9,  -1, -1, -1, -1, -1, -1, -1,
                                       11, -1, -1, -1, -1, -1, -1, -1, 10, 12, -1, -1,
                                       -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
  EXPECT_EQ(runs.inputs, inputs);
  EXPECT_EQ(runs.groups, (std::vector<int32_t>{0, 1, 1, 0, 2, -1}));
}

TEST(InputRuns, ARankHasThoseOfItsLeaves) {
  const InputRuns runs = MakeInputRuns(kGroups, kBounds, 24);
  kernels::LinearShape second;
  second.input_begin = 24;
  second.inputs = 24;
  EXPECT_EQ(runs.InputBegin(second), 10);
  EXPECT_EQ(runs.InputEnd(second), 13);
  const std::vector<int32_t> order = runs.LocalOrder(second);
  ASSERT_EQ(order.size(), 24u);
  EXPECT_EQ(order[0], 1);
  EXPECT_EQ(order[1], -1);
  EXPECT_EQ(order[8], 0);
  EXPECT_EQ(order[9], 2);
}

}  // namespace
}  // namespace octet::worker
