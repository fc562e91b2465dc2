// Every collective on every kind of rank, against a scalar reference, bit for bit: run by itself
// for one rank and for threads, under mpirun for MPI.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "comm/counting.h"
#include "comm/shared_group.h"
#include "tests/comm/mpi_main.h"
#include "tests/comm/rank_array.h"
#include "tests/comm/tree_cases.h"

namespace octet::comm {
namespace {

constexpr CommunicatorLimits kLimits = {.gather_bytes_max = int64_t{3} << 20,
                                        .reduce_floats_max = int64_t{1} << 20,
                                        .broadcast_bytes_max = int64_t{3} << 20};

std::vector<std::byte> RandomBytes(int64_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> data(bytes);
  for (int64_t begin = 0; begin < bytes; begin += 8) {
    const uint64_t draw = random();
    std::memcpy(data.data() + begin, &draw,
                static_cast<size_t>(std::min<int64_t>(8, bytes - begin)));
  }
  return data;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void CheckReduce(Communicator& comm, const TreeCase& sum, Stream& stream) {
  const auto count = static_cast<int64_t>(sum.sum.size());
  const RankArray<float> roots(sum.roots[comm.rank()], stream);
  RankArray<float> out(std::vector<float>(count, -1.0f), stream);
  comm.TreeAllReduce(sum.exchange, roots.data(), out.data(), count, stream);
  EXPECT_TRUE(SameBits(out.Read(stream), sum.sum))
      << "rank " << comm.rank() << " of " << comm.size() << ", count " << count;
}

// The same by roots that are written in their place, where there is one: gathered where ranks
// gather, and summed. Twice each, so that one exchange meets the next.
void CheckReduceInPlace(Communicator& comm, const TreeCase& sum, Stream& stream) {
  if (stream.device() != Device::kCpu) return;
  const auto count = static_cast<int64_t>(sum.sum.size());
  for (int turn = 0; turn < 4; ++turn) {
    std::vector<float> elsewhere = sum.roots[comm.rank()];
    float* roots = comm.RootsPlace(sum.exchange, count);
    EXPECT_EQ(roots, comm.RootsPlace(sum.exchange, count));
    if (roots != nullptr) {
      std::copy(elsewhere.begin(), elsewhere.end(), roots);
    } else {
      roots = elsewhere.data();
    }
    std::vector<float> out(count);
    const float* gathered =
        turn % 2 == 0 ? comm.GatherRoots(sum.exchange, roots, count, stream) : nullptr;
    if (gathered == nullptr) {
      comm.TreeAllReduce(sum.exchange, roots, out.data(), count, stream);
    } else {
      for (int64_t k = 0; k < count; ++k) {
        out[k] = ScalarTreeSum(gathered + k, count, sum.exchange.merges);
      }
    }
    EXPECT_TRUE(SameBits(out, sum.sum))
        << "rank " << comm.rank() << " of " << comm.size() << ", count " << count;
  }
}

// Parts of [ranks] bytes whose content follows from `seed`.
void CheckGather(Communicator& comm, const std::vector<int64_t>& bytes_of_rank, uint64_t seed,
                 Stream& stream) {
  const int64_t total = std::accumulate(bytes_of_rank.begin(), bytes_of_rank.end(), int64_t{0});
  const std::vector<std::byte> expected = RandomBytes(total, seed);
  const int64_t begin =
      std::accumulate(bytes_of_rank.begin(), bytes_of_rank.begin() + comm.rank(), int64_t{0});
  const auto own = expected.begin() + begin;
  const RankArray<std::byte> send({own, own + bytes_of_rank[comm.rank()]}, stream);
  RankArray<std::byte> recv(std::vector<std::byte>(total, std::byte{0}), stream);
  comm.AllGather(send.span(), bytes_of_rank, recv.span(), stream);
  EXPECT_TRUE(recv.Read(stream) == expected)
      << "rank " << comm.rank() << " of " << comm.size() << ", " << total << " bytes";
}

void CheckBroadcast(Communicator& comm, int64_t bytes, int root, uint64_t seed) {
  const std::vector<std::byte> expected = RandomBytes(bytes, seed);
  std::vector<std::byte> data(bytes, std::byte{0});
  if (comm.rank() == root) data = expected;
  comm.Broadcast(data, root);
  EXPECT_TRUE(data == expected) << "rank " << comm.rank() << " of " << comm.size() << ", root "
                                << root << ", " << bytes << " bytes";
}

class CommunicatorParity : public testing::TestWithParam<World> {
 protected:
  void OnRanks(const RankBody& body) { RunOnRanks(GetParam(), kLimits, body); }
};

TEST_P(CommunicatorParity, RanksAreNumbered) {
  std::atomic<int> rank_sum{0};
  std::atomic<int> size{0};
  OnRanks([&](Communicator& comm, Stream&) {
    rank_sum += comm.rank();
    size = comm.size();
    EXPECT_LT(comm.rank(), comm.size());
  });
  const int ranks = GetParam().ranks;
  EXPECT_EQ(size, ranks);
  if (UnderMpi()) return;
  EXPECT_EQ(rank_sum, ranks * (ranks - 1) / 2);
}

TEST_P(CommunicatorParity, TreeAllReduceHasTheBitsOfTheUnshardedSum) {
  std::vector<TreeCase> sums;
  for (const SumTree& tree : {SumTree::OverInputs(256), SumTree::OverInputs(1024),
                              SumTree::OverInputs(29568), SumTree::OverHeads(14, 2, 64)}) {
    for (const Deal deal : {Deal::kEven, Deal::kEvenLast, Deal::kRandom, Deal::kRandom,
                            Deal::kFirstOnly, Deal::kLastOnly}) {
      for (const int64_t count : {1, 7, 256, kEmulated ? 260 : 4100}) {
        sums.push_back(MakeTreeCase(tree, GetParam().ranks, deal, count, 1 + sums.size()));
      }
    }
  }
  OnRanks([&](Communicator& comm, Stream& stream) {
    for (const TreeCase& sum : sums) {
      CheckReduce(comm, sum, stream);
      CheckReduceInPlace(comm, sum, stream);
    }
  });
}

TEST_P(CommunicatorParity, LargeTreeAllReduceHasTheSameBits) {
  const int ranks = GetParam().ranks;
  const SumTree wide = SumTree::OverInputs(1024);
  const SumTree narrow = SumTree::OverInputs(256);
  std::vector<TreeCase> sums;
  for (const Deal deal : {Deal::kEven, Deal::kRandom, Deal::kLastOnly}) {
    sums.push_back(MakeTreeCase(wide, ranks, deal, kEmulated ? 1200 : 8192, 101 + sums.size()));
  }
  // Just more than an area holds, so that they go in rounds.
  const int64_t area_floats = kEmulated ? 4096 : AreaBytes(kLimits, ranks) / 4;
  for (const Deal deal : {Deal::kEven, Deal::kFirstOnly}) {
    const TreeCase one = MakeTreeCase(narrow, ranks, deal, 1, 1);
    const int64_t count = area_floats / static_cast<int64_t>(one.exchange.merges.size()) + 1;
    sums.push_back(MakeTreeCase(narrow, ranks, deal, count, 101 + sums.size()));
  }
  OnRanks([&](Communicator& comm, Stream& stream) {
    for (const TreeCase& sum : sums) CheckReduce(comm, sum, stream);
  });
}

TEST_P(CommunicatorParity, PoolThreadsDoNotChangeBits) {
  const TreeCase sum = MakeTreeCase(SumTree::OverInputs(256), GetParam().ranks, Deal::kEven,
                                    kEmulated ? 701 : 70001, 7);
  RunOnRanks(
      GetParam(), kLimits,
      [&](Communicator& comm, Stream& stream) { CheckReduce(comm, sum, stream); },
      /*pool_threads=*/3);
}

TEST_P(CommunicatorParity, AllGatherPutsPartsSideBySide) {
  OnRanks([&](Communicator& comm, Stream& stream) {
    std::mt19937_64 random(11);
    for (const int64_t bytes_max : {1, 5, 64, 4096, 300000}) {
      for (int round = 0; round < 6; ++round) {
        std::vector<int64_t> bytes(comm.size());
        for (int64_t& b : bytes) {
          b = random() % 3 == 0 ? 0 : static_cast<int64_t>(random() % (bytes_max + 1));
        }
        CheckGather(comm, bytes, random(), stream);
      }
    }
    CheckGather(comm, std::vector<int64_t>(comm.size(), 0), 1, stream);
    std::vector<int64_t> all_from_one(comm.size(), 0);
    all_from_one.back() = kLimits.gather_bytes_max;
    CheckGather(comm, all_from_one, 2, stream);
  });
}

TEST_P(CommunicatorParity, BroadcastReachesAllFromAnyRoot) {
  OnRanks([&](Communicator& comm, Stream&) {
    for (const int root : {0, comm.size() / 2, comm.size() - 1}) {
      for (const int64_t bytes : {0, 1, 63, 4096, 300000, 1 << 20, (1 << 21) + 5}) {
        CheckBroadcast(comm, bytes, root, static_cast<uint64_t>(bytes) + root);
      }
    }
  });
}

TEST_P(CommunicatorParity, BarrierWaitsForAll) {
  // Only threads share the counter; under MPI this is a barrier that returns.
  const int counted_ranks = UnderMpi() ? 1 : GetParam().ranks;
  std::atomic<int> arrived{0};
  OnRanks([&](Communicator& comm, Stream&) {
    for (int round = 1; round <= 20; ++round) {
      ++arrived;
      comm.Barrier();
      EXPECT_GE(arrived.load(), round * counted_ranks);
      comm.Barrier();
    }
  });
}

TEST_P(CommunicatorParity, ThousandMixedCallsBackToBack) {
  const SumTree tree = SumTree::OverInputs(4096);
  std::vector<TreeCase> sums;
  for (int i = 0; i < 12; ++i) {
    const int64_t count =
        std::vector<int64_t>{3, 256, 2048, 9000}[i % 4] / (kEmulated ? 16 : 1) + 1;
    sums.push_back(MakeTreeCase(tree, GetParam().ranks, static_cast<Deal>(i % 5), count, 500 + i));
  }
  OnRanks([&](Communicator& comm, Stream& stream) {
    std::mt19937_64 random(99);  // the same stream of calls on every rank
    std::mt19937_64 delay(1234 + comm.rank());
    for (int call = 0; call < (kEmulated ? 100 : 1000); ++call) {
      if (delay() % 32 == 0) std::this_thread::yield();
      const uint64_t draw = random();
      const auto size = static_cast<int64_t>(draw >> 8) % 2000;
      switch (draw % 8) {
        case 0:
          CheckBroadcast(comm, size, static_cast<int>((draw >> 32) % comm.size()), draw);
          break;
        case 1: {
          std::vector<int64_t> bytes(comm.size(), 0);
          for (int64_t& b : bytes) b = static_cast<int64_t>(random() % 300);
          CheckGather(comm, bytes, draw, stream);
          break;
        }
        case 2:
          comm.Barrier();
          break;
        default:
          CheckReduce(comm, sums[(draw >> 16) % sums.size()], stream);
          CheckReduceInPlace(comm, sums[(draw >> 16) % sums.size()], stream);
      }
    }
  });
}

TEST_P(CommunicatorParity, CountsAreThoseOfTheWholeExchange) {
  const SumTree tree = SumTree::OverInputs(1024);
  OnRanks([&](Communicator& inner, Stream& stream) {
    CountingCommunicator comm(&inner);
    const TreeCase sum = MakeTreeCase(tree, comm.size(), Deal::kRandom, 40, 3);
    CheckReduce(comm, sum, stream);
    CheckReduce(comm, sum, stream);
    CheckGather(comm, std::vector<int64_t>(comm.size(), 12), 4, stream);
    CheckBroadcast(comm, 100, 0, 5);
    comm.Barrier();
    const auto roots = static_cast<int64_t>(sum.exchange.merges.size());
    const TrafficCounts expected = {.barrier = {1, 0},
                                    .broadcast = {1, 100},
                                    .all_gather = {1, int64_t{12} * comm.size()},
                                    .tree_all_reduce = {2, 2 * roots * 40 * 4}};
    EXPECT_TRUE(comm.counts() == expected);
    EXPECT_EQ(comm.counts().collectives(), 3);
    comm.Reset();
    EXPECT_TRUE(comm.counts() == TrafficCounts{});
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, CommunicatorParity, testing::ValuesIn(AllWorlds()),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace octet::comm

int main(int argc, char** argv) { return octet::comm::RunTests(argc, argv); }
