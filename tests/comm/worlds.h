// Runs the body of a test on every rank of a group, whatever the ranks are. In a process that
// mpirun started, this process is one rank and the others run the same test; else the ranks are
// threads made here.
//
// Bodies run on many threads at once: they share nothing that is written, and use EXPECT rather
// than ASSERT, because a rank that returns early leaves the others in a collective.
#pragma once

#include <cstdlib>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "comm/single.h"
#include "comm/threads.h"
#ifdef OCTET_HAVE_MPI
#include "comm/mpi_communicator.h"
#endif
#ifdef OCTET_FAKE_NCCL
#include "tests/comm/nccl/nccl_world.h"
#endif

namespace octet::comm {

// Kernels take their time there: tests are as many, but short.
#ifdef OCTET_EMULATED
inline constexpr bool kEmulated = true;
#else
inline constexpr bool kEmulated = false;
#endif

struct World {
  enum class Kind { kSingle, kThreads, kMpiWindow, kMpiMessages, kNccl, kNcclSlices };
  Kind kind;
  int ranks;

  std::string name() const {
    switch (kind) {
      case Kind::kSingle:
        return "Single";
      case Kind::kThreads:
        return "Threads" + std::to_string(ranks);
      case Kind::kMpiWindow:
        return "MpiWindow";
      case Kind::kMpiMessages:
        return "MpiMessages";
      case Kind::kNccl:
        return "Nccl" + std::to_string(ranks);
      case Kind::kNcclSlices:
        return "NcclSlices" + std::to_string(ranks);
    }
    return "";
  }
};
inline void PrintTo(const World& world, std::ostream* out) { *out << world.name(); }

// The ranks that mpirun started, 0 outside of it.
inline int MpiRanks() {
  const char* ranks = std::getenv("OMPI_COMM_WORLD_SIZE");
  return ranks == nullptr ? 0 : std::atoi(ranks);
}
inline bool UnderMpi() { return MpiRanks() > 0; }

inline std::vector<World> AllWorlds() {
  using Kind = World::Kind;
  if (UnderMpi()) return {{Kind::kMpiWindow, MpiRanks()}, {Kind::kMpiMessages, MpiRanks()}};
  std::vector<World> worlds;
#ifndef OCTET_EMULATED
  worlds = {{Kind::kSingle, 1},  {Kind::kThreads, 1}, {Kind::kThreads, 2},
            {Kind::kThreads, 3}, {Kind::kThreads, 4}, {Kind::kThreads, 8}};
#endif
#ifdef OCTET_FAKE_NCCL
  for (const int ranks : {1, 3, 8}) {
    if (!kEmulated || ranks < 8) worlds.push_back({Kind::kNccl, ranks});
  }
  for (const int ranks : {2, 5, 8}) {
    if (!kEmulated || ranks < 8) worlds.push_back({Kind::kNcclSlices, ranks});
  }
#endif
  return worlds;
}

// What a rank does with its communicator, on a stream of the device that the world is made of.
using RankBody = std::function<void(Communicator&, Stream&)>;

inline void RunOnThreads(int ranks, const CommunicatorLimits& limits,
                         const std::function<void(Communicator&)>& body) {
  ThreadGroup group(ranks, limits);
  std::vector<std::thread> threads;
  for (int rank = 1; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] { body(group.communicator(rank)); });
  }
  body(group.communicator(0));
  for (std::thread& thread : threads) thread.join();
}

// On a CPU the stream has a pool of `pool_threads`.
inline void RunOnRanks(const World& world, const CommunicatorLimits& limits, const RankBody& body,
                       int pool_threads = 1) {
  const auto on_cpu = [&](Communicator& comm) {
    ThreadPool pool(pool_threads);
    Stream stream(&pool);
    body(comm, stream);
  };
  switch (world.kind) {
    case World::Kind::kSingle: {
      SingleCommunicator single;
      on_cpu(single);
      return;
    }
    case World::Kind::kThreads:
      RunOnThreads(world.ranks, limits, on_cpu);
      return;
    case World::Kind::kNccl:
    case World::Kind::kNcclSlices:
#ifdef OCTET_FAKE_NCCL
      RunOnThreads(world.ranks, limits, [&](Communicator& control) {
        RunOnNccl(control, limits, world.kind == World::Kind::kNcclSlices, body);
      });
#endif
      return;
    default:
#ifdef OCTET_HAVE_MPI
      const bool messages = world.kind == World::Kind::kMpiMessages;
      const auto communicator = MakeMpiCommunicator(limits, {.force_messages = messages});
      on_cpu(*communicator);
#endif
      return;
  }
}

}  // namespace octet::comm
