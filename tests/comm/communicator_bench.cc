// Microseconds per collective, on threads or, under mpirun, on MPI processes:
//   comm_bench [ranks]        mpirun ... comm_bench [messages]
// One line per kind and size: the median over batches of back-to-back calls, and the fastest batch.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "base/sum_tree.h"
#include "tests/comm/worlds.h"

namespace octet::comm {
namespace {

constexpr int kBatches = 21;
constexpr CommunicatorLimits kLimits = {.gather_bytes_max = int64_t{4} << 20,
                                        .reduce_floats_max = int64_t{1} << 22,
                                        .broadcast_bytes_max = int64_t{4} << 20};

template <typename Call>
void Measure(Communicator& comm, const char* kind, int64_t bytes, const Call& call) {
  const int calls = static_cast<int>(std::clamp<int64_t>((int64_t{4} << 20) / (bytes + 1), 4, 500));
  std::vector<double> us;
  for (int batch = 0; batch < kBatches; ++batch) {
    comm.Barrier();
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) call();
    const std::chrono::duration<double, std::micro> spent =
        std::chrono::steady_clock::now() - begin;
    us.push_back(spent.count() / calls);
  }
  std::sort(us.begin(), us.end());
  if (comm.rank() != 0) return;
  std::printf("%-16s ranks %d  bytes/rank %9ld  median %9.2f us  best %9.2f us\n", kind,
              comm.size(), static_cast<long>(bytes), us[kBatches / 2], us[0]);
}

void MeasureAll(Communicator& comm, Stream& stream) {
  const SumTree tree = SumTree::OverInputs(8192);
  std::vector<LeafRange> ranges;
  const auto bounds = DealUnits(tree.leaf_count(), comm.size(), true);
  ExchangeTree exchange;
  for (int r = 0; r < comm.size(); ++r) {
    ranges.push_back({bounds[r], bounds[r + 1]});
    exchange.roots_of_rank.push_back(static_cast<int32_t>(tree.Roots(ranges.back()).size()));
  }
  exchange.merges = tree.MergesAcross(ranges);
  const int64_t own = exchange.roots_of_rank[comm.rank()];
  Measure(comm, "barrier", 0, [&] { comm.Barrier(); });
  for (const int64_t count : {256, 896, 2048, 8192, 16384, 32768, 65536, 262144, 1048576}) {
    std::vector<float> roots(own * count, 1.0f);
    std::vector<float> out(count);
    Measure(comm, "tree_all_reduce", count * 4,
            [&] { comm.TreeAllReduce(exchange, roots.data(), out.data(), count, stream); });
  }
  for (const int64_t bytes : {256, 8192, 262144}) {
    std::vector<std::byte> data(bytes);
    Measure(comm, "broadcast", bytes, [&] { comm.Broadcast(data, 0); });
    const std::vector<int64_t> parts(comm.size(), bytes);
    std::vector<std::byte> recv(bytes * comm.size());
    Measure(comm, "all_gather", bytes, [&] { comm.AllGather(data, parts, recv, stream); });
  }
}

int Main(int argc, char** argv) {
  if (!UnderMpi()) {
    const int ranks = argc > 1 ? std::atoi(argv[1]) : 2;
    RunOnRanks({World::Kind::kThreads, ranks}, kLimits, MeasureAll);
    return 0;
  }
#ifdef OCTET_HAVE_MPI
  MpiRuntime runtime(&argc, &argv);
  const bool messages = argc > 1 && std::strcmp(argv[1], "messages") == 0;
  RunOnRanks({messages ? World::Kind::kMpiMessages : World::Kind::kMpiWindow, MpiRanks()}, kLimits,
             MeasureAll);
#endif
  return 0;
}

}  // namespace
}  // namespace octet::comm

int main(int argc, char** argv) { return octet::comm::Main(argc, argv); }
