// Collectives captured in a graph: launched again they exchange and add what is in the buffers
// then.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/comm/nccl/nccl_world.h"
#include "tests/comm/rank_array.h"
#include "tests/comm/tree_cases.h"
#include "tests/comm/worlds.h"

namespace octet::comm {
namespace {

constexpr CommunicatorLimits kLimits = {
    .gather_bytes_max = 1 << 16, .reduce_floats_max = 1 << 14, .broadcast_bytes_max = 1 << 12};
constexpr int kRanks = 3;
constexpr int64_t kCount = 72;

void CaptureAndLaunch(Communicator& comm, Stream& stream, const std::vector<TreeCase>& steps) {
  const int rank = comm.rank();
  RankArray<float> roots(std::vector<float>(steps[0].roots[rank].size()), stream);
  RankArray<float> out(std::vector<float>(kCount), stream);
  RankArray<float> all(std::vector<float>(kRanks * kCount), stream);
  const std::vector<int64_t> bytes(kRanks, kCount * static_cast<int64_t>(sizeof(float)));
  Graph graph = Graph::Capture(stream, [&] {
    comm.TreeAllReduce(steps[0].exchange, roots.data(), out.data(), kCount, stream);
    comm.AllGather(std::as_bytes(out.span()), bytes, std::as_writable_bytes(all.span()), stream);
  });
  for (const TreeCase& step : steps) {
    CopyToDevice(roots.data(), step.roots[rank].data(),
                 static_cast<int64_t>(step.roots[rank].size() * sizeof(float)), stream);
    graph.Launch(stream);
    const std::vector<float>& found = all.Read(stream);
    for (int r = 0; r < kRanks; ++r) {
      EXPECT_EQ(std::memcmp(found.data() + r * kCount, step.sum.data(), kCount * sizeof(float)), 0)
          << "rank " << rank;
    }
  }
}

TEST(NcclGraphTest, ACapturedStepCanBeLaunchedAgain) {
  std::vector<TreeCase> steps;
  for (const uint64_t seed : {21, 22, 23}) {
    steps.push_back(MakeTreeCase(SumTree::OverInputs(1024), kRanks, Deal::kEven, kCount, seed));
  }
  for (const bool by_slices : {false, true}) {
    RunOnThreads(kRanks, kLimits, [&](Communicator& control) {
      RunOnNccl(control, kLimits, by_slices,
                [&](Communicator& comm, Stream& stream) { CaptureAndLaunch(comm, stream, steps); });
    });
  }
}

}  // namespace
}  // namespace octet::comm
