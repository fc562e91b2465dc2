// NCCL groups on real devices, with processes as ranks and no MPI: the bits of sums by both forms,
// gathers, captured steps, and the end of a rank whose peer dies. Where there are fewer GPUs than
// ranks they share them, which shows that it works, not how fast it is.
//
// Skipped where no device opens or there is no NCCL. CUDA does not survive a fork: this process
// never opens a device, its children do.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <thread>

#include "comm/nccl/nccl_communicator.h"
#include "comm/shared_group.h"
#include "tests/comm/rank_array.h"
#include "tests/comm/tree_cases.h"

namespace octet::comm {
namespace {

using std::chrono::milliseconds;

constexpr CommunicatorLimits kLimits = {
    .gather_bytes_max = 1 << 20, .reduce_floats_max = 1 << 18, .broadcast_bytes_max = 1 << 14};
constexpr int kNoGpu = 77;
constexpr int kWrong = 78;
constexpr auto kChildMax = std::chrono::seconds(100);
constexpr milliseconds kWorkMax{60000};

// One process's rank of the group.
struct Rank {
  Communicator* control;
  GroupWatch* watch;
  Gpu* gpu;
  int gpus;

  NcclOptions Options() const {
    return {.device_uuid = gpu->info().uuid, .share_gpu = gpus < control->size()};
  }
};

int RunRank(Communicator& control, const std::function<bool(const Rank&)>& body) {
  const Result<int> gpus = Gpu::Count();
  const auto has_gpu = gpus.ok() && *gpus > 0;
  Result<std::unique_ptr<Gpu>> gpu = Gpu::Open({.index = has_gpu ? control.rank() % *gpus : 0});
  const Status nccl = NcclLibrary::Load().status();
  const RankIdentity own = {.problem = gpu.ok() ? nccl.message() : gpu.status().message()};
  const Status agreed = CheckAgreement(ExchangeIdentities(control, own));
  if (!agreed.ok()) {
    if (control.rank() == 0) std::printf("no GPU to test on: %s\n", agreed.message().c_str());
    std::fflush(stdout);
    return kNoGpu;
  }
  (*gpu)->MakeCurrent();
  GroupWatch watch({.rank = control.rank(), .deadline = kWorkMax});
  const Rank rank = {&control, &watch, gpu->get(), *gpus};
  return body(rank) ? 0 : kWrong;
}

// Ends it, if need be, when its time is over. Returns the exit code, or minus the signal.
int AwaitChild(int pid, std::chrono::steady_clock::time_point end) {
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > end) {
      kill(pid, SIGKILL);
      waitpid(pid, &status, 0);
      break;
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// The exit codes of `ranks` processes that ran `body`.
std::vector<int> RunForked(int ranks, const std::function<bool(const Rank&)>& body) {
  const auto bytes = static_cast<size_t>(SharedRegionBytes(kLimits, ranks));
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  OCTET_CHECK(mapped != MAP_FAILED);
  const std::shared_ptr<std::byte> region(static_cast<std::byte*>(mapped), [](std::byte*) {});
  SharedGroup::Initialize(region.get());
  std::fflush(nullptr);
  std::vector<int> pids;
  for (int rank = 0; rank < ranks; ++rank) {
    const int pid = fork();
    if (pid != 0) {
      pids.push_back(pid);
      continue;
    }
    SharedGroup control(region, rank, ranks, kLimits, nullptr);
    std::_Exit(RunRank(control, body));
  }
  const auto end = std::chrono::steady_clock::now() + kChildMax;
  std::vector<int> codes;
  for (const int pid : pids) codes.push_back(AwaitChild(pid, end));
  munmap(mapped, bytes);
  return codes;
}

bool Same(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

bool SumIsRight(Communicator& comm, Stream& stream, const TreeCase& sum) {
  const auto count = static_cast<int64_t>(sum.sum.size());
  const RankArray<float> roots(sum.roots[comm.rank()], stream);
  RankArray<float> out(std::vector<float>(count, -1.0f), stream);
  comm.TreeAllReduce(sum.exchange, roots.data(), out.data(), count, stream);
  const bool right = Same(out.Read(stream), sum.sum);
  if (!right) std::fprintf(stderr, "rank %d: wrong sum of %ld\n", comm.rank(), long{count});
  return right;
}

bool GatherIsRight(Communicator& comm, Stream& stream, int64_t bytes, bool uneven) {
  std::vector<int64_t> parts(comm.size(), bytes);
  if (uneven) parts.back() += 12;
  std::vector<std::byte> expected;
  for (int r = 0; r < comm.size(); ++r) {
    expected.insert(expected.end(), static_cast<size_t>(parts[r]), static_cast<std::byte>(r + 1));
  }
  const RankArray<std::byte> send(std::vector<std::byte>(static_cast<size_t>(parts[comm.rank()]),
                                                         static_cast<std::byte>(comm.rank() + 1)),
                                  stream);
  RankArray<std::byte> recv(std::vector<std::byte>(expected.size()), stream);
  comm.AllGather(send.span(), parts, recv.span(), stream);
  return recv.Read(stream) == expected;
}

// A captured sum, launched with new roots each time.
bool GraphIsRight(Communicator& comm, Stream& stream) {
  constexpr int64_t kCount = 256;
  const auto make = [&](uint64_t seed) {
    return MakeTreeCase(SumTree::OverInputs(1024), comm.size(), Deal::kEven, kCount, seed);
  };
  RankArray<float> roots(std::vector<float>(make(0).roots[comm.rank()].size()), stream);
  RankArray<float> out(std::vector<float>(kCount), stream);
  if (!SumIsRight(comm, stream, make(1))) return false;  // what NCCL sets up, it sets up here
  Graph graph = Graph::Capture(stream, [&] {
    comm.TreeAllReduce(make(0).exchange, roots.data(), out.data(), kCount, stream);
  });
  for (const uint64_t seed : {2, 3, 4}) {
    const TreeCase sum = make(seed);
    const std::vector<float>& own = sum.roots[comm.rank()];
    CopyToDevice(roots.data(), own.data(), static_cast<int64_t>(own.size() * sizeof(float)),
                 stream);
    graph.Launch(stream);
    if (!Same(out.Read(stream), sum.sum)) return false;
  }
  return true;
}

bool EverythingIsRight(Communicator& comm, Stream& stream) {
  bool right = true;
  for (const Deal deal : {Deal::kEven, Deal::kRandom, Deal::kLastOnly}) {
    for (const int64_t count : {1, 7, 4096, 10000}) {
      const TreeCase sum =
          MakeTreeCase(SumTree::OverInputs(1024), comm.size(), deal, count, 31 + count);
      right = SumIsRight(comm, stream, sum) && right;
    }
  }
  right =
      GatherIsRight(comm, stream, 64, false) && GatherIsRight(comm, stream, 1000, true) && right;
  return GraphIsRight(comm, stream) && right;
}

// Forms a group and gives `body` its communicator.
bool WithGroup(const Rank& rank, NcclOptions options,
               const std::function<bool(Communicator&, Stream&)>& body) {
  Result<DeviceBuffer> area =
      DeviceBuffer::Allocate(NcclAreaBytes(kLimits, rank.control->size(), options.area_bytes_max));
  if (!area.ok()) return false;
  auto made = NcclCommunicator::Create({rank.control, rank.watch, area->data()}, kLimits, options);
  if (!made.ok()) {
    std::fprintf(stderr, "rank %d: %s\n", rank.control->rank(), made.status().message().c_str());
    return false;
  }
  const GroupWatch::Work work(rank.watch);
  return body(**made, rank.gpu->stream());
}

#define OCTET_SKIP_WITHOUT_GPU(codes) \
  if (codes[0] == kNoGpu) GTEST_SKIP() << "no GPU to test on"

TEST(NcclGpuTest, HasTheBitsOfTheUnshardedSum) {
  for (const int ranks : {2, 3}) {
    const std::vector<int> codes = RunForked(ranks, [](const Rank& rank) {
      NcclOptions slices = rank.Options();
      slices.one_shot_root_bytes_max = 256;
      slices.area_bytes_max = int64_t{64} << 10;
      return WithGroup(rank, rank.Options(), EverythingIsRight) &&
             WithGroup(rank, slices, EverythingIsRight);
    });
    OCTET_SKIP_WITHOUT_GPU(codes);
    EXPECT_EQ(codes, std::vector<int>(ranks, 0));
  }
}

TEST(NcclGpuTest, ARankEndsWithItsPeer) {
  const std::vector<int> codes = RunForked(2, [](const Rank& rank) {
    return WithGroup(rank, rank.Options(), [](Communicator& comm, Stream& stream) {
      const TreeCase sum = MakeTreeCase(SumTree::OverInputs(1024), 2, Deal::kEven, 4096, 5);
      if (!SumIsRight(comm, stream, sum)) return false;
      if (comm.rank() == 1) std::_Exit(9);
      return SumIsRight(comm, stream, sum);  // never comes back
    });
  });
  OCTET_SKIP_WITHOUT_GPU(codes);
  EXPECT_EQ(codes, (std::vector<int>{kStoppedExitCode, 9}));
}

TEST(NcclGpuTest, TwoRanksOnOneGpuNeedTheSwitch) {
  const std::vector<int> codes = RunForked(2, [](const Rank& rank) {
    NcclOptions options = rank.Options();
    options.device_uuid = "one and the same";
    options.share_gpu = false;
    const auto made =
        NcclCommunicator::Create({rank.control, rank.watch, nullptr}, kLimits, options);
    return !made.ok() && made.status().message().find("--share-gpu") != std::string::npos;
  });
  OCTET_SKIP_WITHOUT_GPU(codes);
  EXPECT_EQ(codes, std::vector<int>(2, 0));
}

}  // namespace
}  // namespace octet::comm
