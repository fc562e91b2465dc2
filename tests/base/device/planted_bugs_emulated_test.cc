// The emulator's own mutation tests: each planted bug is found under every order of threads, and
// the kernels without a bug are clean. A bug ends a child process with a report, or gives a wrong
// result.
#include <vector>

#include "base/dtype.h"
#include "tests/base/device/planted_bugs.h"
#include "tests/support/emulator/control.h"
#include "tests/support/test_device.h"

namespace octet::planted {
namespace {

Stream& TestStream() { return test::TestGpu()->stream(); }

constexpr int kCount = 150, kTiles = 3, kRounds = 5;

// Each runs one kernel and says whether the result is right.
bool RunBlockSum(Bug bug) {
  std::vector<uint32_t> in(kCount), expected(3);
  for (uint32_t i = 0; i < kCount; ++i) {
    in[i] = i + 1;
    expected[i / 64] += i + 1;
  }
  const DeviceBuffer device_in = test::ToDevice(in, TestStream());
  const DeviceBuffer out = test::ToDevice(std::vector<uint32_t>(3), TestStream());
  BlockSum(bug, device_in.as<uint32_t>(), kCount, out.as<uint32_t>(), TestStream());
  return test::ToHost<uint32_t>(out, TestStream()) == expected;
}

bool RunTileProduct(Bug bug) {
  std::vector<uint16_t> a, b;
  std::vector<float> expected(128);
  for (int i = 0; i < kTiles * 256; ++i) a.push_back(FloatToBF16(static_cast<float>(i % 7 - 3)));
  for (int i = 0; i < kTiles * 128; ++i) b.push_back(FloatToBF16(static_cast<float>(i % 5 - 1)));
  for (int i = 0; i < kTiles * 128 * 16; ++i) {
    const int tile = i / 2048, row = i / 128 % 16, column = i / 16 % 8, k = i % 16;
    expected[row * 8 + column] +=
        BF16ToFloat(a[tile * 256 + row * 16 + k]) * BF16ToFloat(b[tile * 128 + column * 16 + k]);
  }
  const DeviceBuffer device_a = test::ToDevice(a, TestStream());
  const DeviceBuffer device_b = test::ToDevice(b, TestStream());
  const DeviceBuffer out = test::ToDevice(std::vector<float>(128), TestStream());
  TileProduct(bug, device_a.as<uint16_t>(), device_b.as<uint16_t>(), kTiles, out.as<float>(),
              TestStream());
  return test::ToHost<float>(out, TestStream()) == expected;
}

bool RunRing(Bug bug) {
  std::vector<uint32_t> in(64 * kRounds), expected(64);
  for (uint32_t i = 0; i < in.size(); ++i) {
    in[i] = i * i;
    expected[i % 64] += i * i;
  }
  const DeviceBuffer device_in = test::ToDevice(in, TestStream());
  const DeviceBuffer out = test::ToDevice(std::vector<uint32_t>(64), TestStream());
  Ring(bug, device_in.as<uint32_t>(), kRounds, out.as<uint32_t>(), TestStream());
  return test::ToHost<uint32_t>(out, TestStream()) == expected;
}

bool RunGroupProduct(Bug bug) {
  std::vector<int8_t> a, b;
  std::vector<int32_t> expected(64 * 16);
  for (int i = 0; i < 64 * 32; ++i) a.push_back(static_cast<int8_t>(i % 13 - 6));
  for (int i = 0; i < kRounds * 512; ++i) b.push_back(static_cast<int8_t>(i % 11 - 5));
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < 64 * 16; ++i) {
      for (int k = 0; k < 32; ++k)
        expected[i] += a[i / 16 * 32 + k] * b[round * 512 + i % 16 * 32 + k];
    }
  }
  const DeviceBuffer device_a = test::ToDevice(a, TestStream());
  const DeviceBuffer device_b = test::ToDevice(b, TestStream());
  const DeviceBuffer out = test::ToDevice(std::vector<int32_t>(64 * 16), TestStream());
  GroupProduct(bug, device_a.as<int8_t>(), device_b.as<int8_t>(), kRounds, out.as<int32_t>(),
               TestStream());
  return test::ToHost<int32_t>(out, TestStream()) == expected;
}

bool RunBox(Bug bug) {
  std::vector<uint16_t> in(32 * 64);
  std::vector<uint32_t> expected(64);
  for (uint32_t i = 0; i < in.size(); ++i) {
    in[i] = static_cast<uint16_t>(3 * i + 1);
    expected[i % 64] += in[i];
  }
  const DeviceBuffer device_in = test::ToDevice(in, TestStream());
  const DeviceBuffer out = test::ToDevice(std::vector<uint32_t>(64), TestStream());
  Box(bug, device_in.as<uint16_t>(), out.as<uint32_t>(), TestStream());
  return test::ToHost<uint32_t>(out, TestStream()) == expected;
}

bool RunSpin(Bug bug) {
  const DeviceBuffer counter = test::ToDevice(std::vector<uint32_t>(1), TestStream());
  Spin(bug, counter.as<uint32_t>(), TestStream());
  return test::ToHost<uint32_t>(counter, TestStream())[0] == 3;
}

bool RunClusterSum(Bug bug) {
  const DeviceBuffer out = test::ToDevice(std::vector<uint32_t>(8), TestStream());
  ClusterSum(bug, out.as<uint32_t>(), TestStream());
  return test::ToHost<uint32_t>(out, TestStream()) == std::vector<uint32_t>(8, 6);
}

bool RunEarly(Bug bug) {
  std::vector<uint32_t> in(32), expected(32);
  for (uint32_t i = 0; i < 32; ++i) {
    in[i] = 3 * i;
    expected[i] = in[i] + 2;
  }
  const DeviceBuffer device_in = test::ToDevice(in, TestStream());
  const DeviceBuffer between = test::ToDevice(std::vector<uint32_t>(32), TestStream());
  const DeviceBuffer out = test::ToDevice(std::vector<uint32_t>(32), TestStream());
  Early(bug, device_in.as<uint32_t>(), between.as<uint32_t>(), out.as<uint32_t>(), TestStream());
  return test::ToHost<uint32_t>(out, TestStream()) == expected;
}

bool RunBlockSumOnSm80(Bug bug) {
  emulator::SetCapability(80);
  auto gpu = Gpu::Open({});
  DeviceBuffer words = test::ToDevice(std::vector<uint32_t>(64), (*gpu)->stream());
  BlockSum(bug, words.as<uint32_t>(), 1, words.as<uint32_t>(), (*gpu)->stream());
  return true;
}

struct Case {
  Bug bug;
  bool (*run)(Bug);
  const char* report;  // a regular expression; "wrong result": no report but a wrong result
};
constexpr const char* kWrongResult = "wrong result";

const Case kCases[] = {
    {Bug::kNoBarrierBeforeRead, RunBlockSum, "never|no one has written|race: .* no barrier"},
    {Bug::kNoBarrierBeforeOverwrite, RunBlockSum, "race: .* no barrier"},
    {Bug::kReadPastEnd, RunBlockSum, "AddressSanitizer: use-after-poison"},
    {Bug::kWritePastEnd, RunBlockSum, "AddressSanitizer: use-after-poison"},
    {Bug::kSharedIndex, RunBlockSum, "index 4 out of bounds"},
    {Bug::kSharedPartOverrun, RunBlockSum, "AddressSanitizer: use-after-poison"},
    {Bug::kReturnBeforeBarrier, RunBlockSum, "deadlock(.|\n)*__syncthreads(.|\n)*ended"},
    {Bug::kHalfWarpInShuffle, RunBlockSum, "wait at a barrier|divergence: .* shfl"},
    {Bug::kLanesLeaveBallot, RunBlockSum, "wait at a barrier|divergence|have ended"},
    {Bug::kNeverWritten, RunBlockSum, "no one has written"},
    {Bug::kBarrierCount, RunBlockSum, "bar_sync: expects|deadlock|divergence|race"},
    {Bug::kTwoWritersOfOneWord, RunBlockSum, "race: .* no barrier"},
    {Bug::kTooMuchShared, RunBlockSum, "OCTET_SHARED: 16 bytes beside 232448 dynamic ones"},
    {Bug::kTooMuchSharedForSm80, RunBlockSumOnSm80, "167936 bytes of shared memory, on a device"},
    {Bug::kNoCopyWait, RunTileProduct, "bytes in flight"},
    {Bug::kNoTailCommit, RunTileProduct, "bytes in flight"},
    {Bug::kCopyPastEnd, RunTileProduct, "cp_async: out of bounds"},
    {Bug::kOverwriteInFlight, RunTileProduct, "in flight"},
    {Bug::kNoWarpBarrier, RunTileProduct, "race: .* no barrier|in flight|no one has written"},
    {Bug::kWrongColumn, RunTileProduct, kWrongResult},
    {Bug::kNoWaitForFull, RunRing, "in flight|no one has written|race"},
    {Bug::kNoWaitForEmpty, RunRing, "race|in flight|more arrivals"},
    {Bug::kWrongParity, RunRing, "in flight|no one has written|race|deadlock"},
    {Bug::kWrongBytes, RunRing, "deadlock(.|\n)*mbar_wait"},
    {Bug::kNotInitialised, RunRing, "not initialised"},
    {Bug::kArriveTwice, RunRing, "more arrivals|race|in flight|deadlock"},
    {Bug::kNoProductWait, RunGroupProduct, "in flight|were touched"},
    {Bug::kNoProductFence, RunGroupProduct, "no wgmma_fence"},
    {Bug::kRegistersChanged, RunGroupProduct, "registers of A .* changed"},
    {Bug::kAccumulatorsTouched, RunGroupProduct, "accumulators .* touched"},
    {Bug::kTileOverwritten, RunGroupProduct, "race|still reads|deadlock|no one has written"},
    {Bug::kReleasedBeforeWait, RunGroupProduct, "still reads|race"},
    {Bug::kNoProxyFence, RunGroupProduct, "without a fence_proxy_async"},
    {Bug::kWrongStride, RunGroupProduct, kWrongResult},
    {Bug::kNoWaitForBox, RunBox, "in flight|no one has written|race"},
    {Bug::kBoxNotAligned, RunBox, "tensor_load: shared memory is not aligned to 1024"},
    {Bug::kMapPastEnd, RunBox, "tensor_load: out of bounds of a device buffer"},
    {Bug::kNeverReleased, RunSpin, "livelock|deadlock"},
    {Bug::kLeavesCluster, RunClusterSum, "of the cluster has ended|deadlock"},
    {Bug::kNoClusterBarrier, RunClusterSum, "divergence.*cluster_sync"},
    {Bug::kReadsBeforePast, RunEarly,
     "reads before wait_for_past what the kernel launched at .*planted_bugs.cu"},
    {Bug::kCopiesBeforePast, RunEarly,
     "reads before wait_for_past what the kernel launched at .*planted_bugs.cu"},
    {Bug::kWritesBeforePast, RunEarly, "writes before wait_for_past"},
    {Bug::kNeverWaitsForPast, RunEarly, "ends without wait_for_past"},
};

class PlantedBugTest : public testing::TestWithParam<int> {};

// Seeds 0 to 3, a case after the other: what runs in a child is the kernel alone.
TEST_P(PlantedBugTest, IsFoundUnderEverySeed) {
  const Case& planted = kCases[GetParam()];
  test::TestGpu();
  for (uint64_t seed = 0; seed < 4; ++seed) {
    emulator::SetSeed(seed);
    if (planted.report == kWrongResult) {
      EXPECT_FALSE(planted.run(planted.bug)) << "seed " << seed;
      continue;
    }
    EXPECT_EXIT(
        {
          planted.run(planted.bug);
          std::exit(0);
        },
        [](int status) { return status != 0; }, planted.report)
        << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(All, PlantedBugTest, testing::Range(0, int{std::size(kCases)}));

TEST(CleanKernelTest, NothingIsFoundUnderAnySeed) {
  for (uint64_t seed = 0; seed < 25; ++seed) {
    emulator::SetSeed(seed);
    EXPECT_TRUE(RunBlockSum(Bug::kNone)) << seed;
    EXPECT_TRUE(RunTileProduct(Bug::kNone)) << seed;
    EXPECT_TRUE(RunRing(Bug::kNone)) << seed;
    EXPECT_TRUE(RunGroupProduct(Bug::kNone)) << seed;
    EXPECT_TRUE(RunBox(Bug::kNone)) << seed;
    EXPECT_TRUE(RunSpin(Bug::kNone)) << seed;
    EXPECT_TRUE(RunClusterSum(Bug::kNone)) << seed;
    EXPECT_TRUE(RunEarly(Bug::kNone)) << seed;
  }
  emulator::SetSeed(1);
}

}  // namespace
}  // namespace octet::planted
