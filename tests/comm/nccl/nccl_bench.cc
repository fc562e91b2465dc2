// Microseconds per collective between GPUs, one process for each, on one host and without MPI:
//   nccl_bench [ranks] [json]      ranks: default one for each GPU
// Our TreeAllReduce (eager and in a graph) against ncclAllReduce of the same count, which adds in
// an order of its own and is what a server without rank invariance would use. Not measured yet.
//
// algorithm bandwidth = count * 4 bytes / time; ncclAllReduce moves 2 (n - 1) / n of that over a
// link, ours n - 1 (one shot) or about 2 (n - 1) / n (slices) for a root a rank.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/device/device.h"
#include "comm/nccl/nccl_communicator.h"
#include "comm/shared_group.h"
#include "tests/comm/tree_cases.h"

namespace octet::comm {
namespace {

constexpr int64_t kCountMax = int64_t{1} << 24;  // 2048 rows of 8192
constexpr int kBatches = 11;
constexpr int kCallsPerBatch = 20;
constexpr CommunicatorLimits kLimits = {.gather_bytes_max = 1 << 20,
                                        .reduce_floats_max = 2 * kCountMax,
                                        .broadcast_bytes_max = 1 << 14};

[[noreturn]] void Refuse(const std::string& why) {
  std::fprintf(stderr, "nccl_bench: %s\n", why.c_str());
  std::_Exit(1);
}

template <typename T>
T ValueOr(Result<T> result) {
  if (!result.ok()) Refuse(result.status().message());
  return std::move(result).value();
}

ExchangeTree TreeOf(int ranks) {
  const SumTree tree = SumTree::OverInputs(8192);
  std::mt19937_64 random(0);
  ExchangeTree exchange;
  const auto ranges = DealLeaves(tree.leaf_count(), ranks, Deal::kEven, random);
  for (const LeafRange& range : ranges) {
    exchange.roots_of_rank.push_back(static_cast<int32_t>(tree.Roots(range).size()));
  }
  exchange.merges = tree.MergesAcross(ranges);
  return exchange;
}

struct Bench {
  Communicator& comm;
  Stream& stream;
  bool json;

  // Prints the median over batches.
  void Measure(const char* kind, int64_t count, const std::function<void()>& call) const {
    std::vector<double> us;
    for (int batch = 0; batch <= kBatches; ++batch) {
      Event begin;
      Event end;
      Synchronize(stream);
      comm.Barrier();
      begin.Record(stream);
      for (int i = 0; i < kCallsPerBatch; ++i) call();
      end.Record(stream);
      end.Synchronize();
      if (batch == 0) continue;  // what is set up on first use
      us.push_back(1000 * Event::MillisecondsBetween(begin, end) / kCallsPerBatch);
    }
    std::sort(us.begin(), us.end());
    if (comm.rank() != 0) return;
    const double median_us = us[us.size() / 2];
    const double bytes_per_s = static_cast<double>(count) * 4 / (median_us * 1e-6);
    const char* format =
        json ? "{\"kind\": \"%s\", \"ranks\": %d, \"count\": %ld, \"median_us\": %.2f, "
               "\"algorithm_bytes_per_s\": %.4g}\n"
             : "%-24s ranks %d  count %9ld  median %9.2f us  %.4g B/s\n";
    std::printf(format, kind, comm.size(), static_cast<long>(count), median_us, bytes_per_s);
  }
};

// A communicator of its own for NCCL's sum: ours does not hand out its own.
NcclComm* PlainGroup(const NcclLibrary& nccl, Communicator& control) {
  NcclId id = {};
  if (control.rank() == 0 && nccl.get_unique_id(&id) != NcclResult::kSuccess) Refuse("no id");
  control.Broadcast(std::as_writable_bytes(std::span(&id, 1)), 0);
  NcclConfig config;
  config.blocking = 1;
  NcclComm* comm = nullptr;
  const NcclResult result =
      nccl.comm_init_rank_config(&comm, control.size(), id, control.rank(), &config);
  if (result != NcclResult::kSuccess) Refuse(nccl.Reason(result, nullptr));
  return comm;
}

void MeasureAll(const Bench& bench, const NcclLibrary& nccl, NcclComm* plain) {
  const ExchangeTree tree = TreeOf(bench.comm.size());
  const int64_t own = tree.roots_of_rank[bench.comm.rank()];
  const DeviceBuffer roots = ValueOr(DeviceBuffer::Allocate(own * kCountMax * 4));
  const DeviceBuffer out = ValueOr(DeviceBuffer::Allocate(kCountMax * 4));
  FillBytes(roots.data(), 0, roots.bytes(), bench.stream);
  for (int64_t count = 4096; count <= kCountMax; count *= 4) {
    const auto ours = [&] {
      bench.comm.TreeAllReduce(tree, roots.as<const float>(), out.as<float>(), count, bench.stream);
    };
    bench.Measure("tree_all_reduce", count, ours);
    Graph graph = Graph::Capture(bench.stream, ours);
    bench.Measure("tree_all_reduce_graph", count, [&] { graph.Launch(bench.stream); });
    bench.Measure("nccl_all_reduce", count, [&] {
      nccl.all_reduce(roots.data(), out.data(), static_cast<size_t>(count), NcclType::kFloat32,
                      NcclOp::kSum, plain, static_cast<CudaStream*>(bench.stream.handle()));
    });
  }
}

void RunRank(Communicator& control, bool json) {
  const int gpus = ValueOr(Gpu::Count());
  const std::unique_ptr<Gpu> gpu = ValueOr(Gpu::Open({.index = control.rank() % gpus}));
  gpu->MakeCurrent();
  GroupWatch watch({.rank = control.rank(), .deadline = std::chrono::minutes(1)});
  const NcclOptions options = {.device_uuid = gpu->info().uuid, .share_gpu = gpus < control.size()};
  const DeviceBuffer area = ValueOr(DeviceBuffer::Allocate(NcclAreaBytes(kLimits, control.size())));
  const auto comm =
      ValueOr(NcclCommunicator::Create({&control, &watch, area.data()}, kLimits, options));
  const NcclLibrary nccl = ValueOr(NcclLibrary::Load());
  const GroupWatch::Work work(&watch);
  NcclComm* plain = PlainGroup(nccl, control);
  MeasureAll({*comm, gpu->stream(), json}, nccl, plain);
  Synchronize(gpu->stream());
  nccl.comm_destroy(plain);
}

// CUDA does not survive a fork: how many GPUs there are is asked in a child.
int CountGpus() {
  const int pid = fork();
  if (pid == 0) {
    const Result<int> count = Gpu::Count();
    std::_Exit(count.ok() ? *count : 0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

int Main(int argc, char** argv) {
  const bool json = argc > 1 && std::strcmp(argv[argc - 1], "json") == 0;
  int ranks = argc > 1 ? std::atoi(argv[1]) : 0;
  if (ranks == 0) ranks = CountGpus();
  if (ranks == 0) Refuse("there is no GPU");
  const auto bytes = static_cast<size_t>(SharedRegionBytes(kLimits, ranks));
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) Refuse("no shared memory");
  const std::shared_ptr<std::byte> region(static_cast<std::byte*>(mapped), [](std::byte*) {});
  SharedGroup::Initialize(region.get());
  for (int rank = 0; rank < ranks; ++rank) {
    if (fork() != 0) continue;
    SharedGroup control(region, rank, ranks, kLimits, nullptr);
    RunRank(control, json);
    std::fflush(stdout);
    std::_Exit(0);
  }
  int failed = 0;
  for (int status = 0; wait(&status) > 0;) failed += status != 0 ? 1 : 0;
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace octet::comm

int main(int argc, char** argv) { return octet::comm::Main(argc, argv); }
