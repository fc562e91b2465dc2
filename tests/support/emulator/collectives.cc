// Where threads meet: lanes of a warp, a warpgroup, the barriers of a block.
#include <algorithm>

#include "tests/support/emulator/scheduler.h"

namespace octet::emulator {
namespace {

bool SamePlace(const Place& a, const Place& b) {
  return a.line() == b.line() && std::string_view(a.file_name()) == b.file_name();
}

std::string Tell(const char* what, const Place& place) {
  return std::string(what) + " at " + place.file_name() + ":" + std::to_string(place.line());
}

std::string Lanes(uint32_t mask) {
  std::string text = "lanes";
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if ((mask >> lane & 1u) != 0) text += " " + std::to_string(lane);
  }
  return text;
}

// What everyone in `threads` did so far is known to everyone in it.
template <typename Threads>
void JoinClocks(const Threads& threads, const Clock* more) {
  Clock all =
      more != nullptr ? *more : Clock{0, std::vector<Time>(threads.front()->block->actors(), 0)};
  const Time now = current_scheduler->NextTime() - 1;
  for (const Thread* thread : threads) all.Join(thread->clock);
  for (const Thread* thread : threads) all.known[thread->index] = now;
  for (Thread* thread : threads) thread->clock = all;
}

void CheckMeeting(const char* what, uint32_t mask, const Place& place) {
  Thread& self = *current_thread;
  Warp& warp = *self.warp;
  if ((mask & BitOf(self)) == 0)
    Fail(std::string(what) + ": the lane itself is not in the mask", place);
  if ((mask & ~warp.members) != 0)
    Fail(std::string(what) + ": the mask names " + Lanes(mask & ~warp.members) +
             ", which the block does not have",
         place);
  if ((mask & warp.done) != 0)
    Fail(std::string(what) + ": the mask names " + Lanes(mask & warp.done) + ", which have ended",
         place);
  if ((mask & warp.at_barrier) != 0)
    Fail(std::string(what) + ": the mask names " + Lanes(mask & warp.at_barrier) +
             ", which wait at a barrier of the block",
         place);
  const uint32_t others = warp.meeting & mask;
  if (others == 0) return;
  const Thread& other = *warp.lanes[std::countr_zero(others)];
  if (other.meeting_mask != mask || other.wait.what != what || !SamePlace(other.wait.place, place))
    Fail("divergence: this lane comes to " + Tell(what, place) + ", while " + Lanes(others) +
             " wait in " + Tell(other.wait.what, other.wait.place),
         place);
}

}  // namespace

Thread& Self(const Place& place) {
  if (current_thread == nullptr) Fail("a primitive is called outside a kernel", place);
  return *current_thread;
}

void Meet(const char* what, uint32_t mask, void* arguments, Meeting compute, bool orders,
          const Place& place) {
  Thread& self = Self(place);
  current_scheduler->MaybeGiveWay();
  CheckMeeting(what, mask, place);
  Warp& warp = *self.warp;
  self.meeting_mask = mask;
  self.meeting_arguments = arguments;
  warp.meeting |= BitOf(self);
  if ((warp.meeting & mask) != mask) return current_scheduler->Sleep(what, place);
  if (compute != nullptr) compute(warp, mask, place);
  if (orders) {
    std::vector<Thread*> lanes;
    for (uint32_t left = mask; left != 0; left &= left - 1)
      lanes.push_back(warp.lanes[std::countr_zero(left)]);
    JoinClocks(lanes, nullptr);
  }
  warp.meeting &= ~mask;
  warp.ready |= mask;
}

void MeetWarpgroup(const char* what, void* arguments, GroupMeeting compute, const Place& place) {
  Thread& self = Self(place);
  current_scheduler->MaybeGiveWay();
  Block& block = *self.block;
  const int index = self.index / 128;
  if (index >= static_cast<int>(block.warpgroups.size()))
    Fail(std::string(what) + ": the thread belongs to no whole warpgroup of 128", place);
  Warpgroup& group = block.warpgroups[index];
  for (int i = 128 * index; i < 128 * (index + 1); ++i) {
    if (block.threads[i].done)
      Fail(std::string(what) + ": thread " + std::to_string(i) + " of the warpgroup has ended",
           place);
  }
  if (group.waiting.empty()) {
    group.what = what;
    group.place = place;
  } else if (group.what != what || !SamePlace(group.place, place)) {
    Fail("divergence: this thread comes to " + Tell(what, place) +
             ", while others of the warpgroup wait in " + Tell(group.what, group.place),
         place);
  }
  group.arguments[self.index % 128] = arguments;
  group.waiting.push_back(&self);
  if (group.waiting.size() < 128) return current_scheduler->Sleep(what, place);
  if (compute != nullptr) compute(block, index, place);
  for (Thread* thread : group.waiting) current_scheduler->Wake(*thread);
  group.waiting.clear();
}

namespace {

struct ShuffleArguments {
  Shuffle mode;
  uint64_t value;
  int argument;
  int width;
  uint64_t result;
};

int SourceLane(const ShuffleArguments& a, int lane) {
  const int first = lane & ~(a.width - 1);
  const int last = first + a.width - 1;
  switch (a.mode) {
    case Shuffle::kIndex:
      return first + (a.argument & (a.width - 1));
    case Shuffle::kUp:
      return lane - a.argument < first ? lane : lane - a.argument;
    case Shuffle::kDown:
      return lane + a.argument > last ? lane : lane + a.argument;
    case Shuffle::kXor:
      return (lane ^ a.argument) > last ? lane : lane ^ a.argument;
  }
  return lane;
}

void ComputeShuffle(Warp& warp, uint32_t mask, const Place& place) {
  for (uint32_t left = mask; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    auto& a = *static_cast<ShuffleArguments*>(warp.lanes[lane]->meeting_arguments);
    const int source = SourceLane(a, lane);
    if (source < 0 || source >= kWarpLanes || (mask >> source & 1u) == 0)
      Fail("shfl: lane " + std::to_string(lane) + " reads lane " + std::to_string(source) +
               ", which is not in the mask",
           place);
    a.result = static_cast<ShuffleArguments*>(warp.lanes[source]->meeting_arguments)->value;
  }
}

struct VoteArguments {
  int64_t value;
  Reduction kind;
  int64_t result;
};

void ComputeBallot(Warp& warp, uint32_t mask, const Place&) {
  int64_t ballot = 0;
  for (uint32_t left = mask; left != 0; left &= left - 1) {
    const int lane = std::countr_zero(left);
    ballot |= static_cast<VoteArguments*>(warp.lanes[lane]->meeting_arguments)->value << lane;
  }
  for (uint32_t left = mask; left != 0; left &= left - 1)
    static_cast<VoteArguments*>(warp.lanes[std::countr_zero(left)]->meeting_arguments)->result =
        ballot;
}

void ComputeReduce(Warp& warp, uint32_t mask, const Place&) {
  bool first = true;
  int64_t result = 0;
  const auto arguments = [&](uint32_t left) {
    return static_cast<VoteArguments*>(warp.lanes[std::countr_zero(left)]->meeting_arguments);
  };
  for (uint32_t left = mask; left != 0; left &= left - 1) {
    const VoteArguments& a = *arguments(left);
    if (first) result = a.value;
    if (!first && a.kind == Reduction::kAdd) result += a.value;
    if (!first && a.kind == Reduction::kMin) result = std::min(result, a.value);
    if (!first && a.kind == Reduction::kMax) result = std::max(result, a.value);
    first = false;
  }
  for (uint32_t left = mask; left != 0; left &= left - 1) arguments(left)->result = result;
}

}  // namespace

uint64_t ShuffleBits(Shuffle mode, uint32_t mask, uint64_t value, int argument, int width,
                     const Place& place) {
  if (width < 1 || width > kWarpLanes || (width & (width - 1)) != 0)
    Fail("shfl: the width is not a power of two up to 32", place);
  ShuffleArguments arguments{mode, value, argument, width, 0};
  Meet("shfl", mask, &arguments, ComputeShuffle, false, place);
  return arguments.result;
}

uint32_t Ballot(uint32_t mask, bool predicate, const Place& place) {
  VoteArguments arguments{predicate ? 1 : 0, Reduction::kAdd, 0};
  Meet("ballot", mask, &arguments, ComputeBallot, false, place);
  return static_cast<uint32_t>(arguments.result);
}

int64_t Reduce(Reduction kind, uint32_t mask, int64_t value, const Place& place) {
  VoteArguments arguments{value, kind, 0};
  Meet("reduce", mask, &arguments, ComputeReduce, false, place);
  return arguments.result;
}

void SyncWarp(uint32_t mask, const Place& place) {
  Meet("__syncwarp", mask, nullptr, nullptr, true, place);
}

namespace {

void CompleteBarrier(const Block& block, Barrier& barrier) {
  const bool everyone = static_cast<int>(barrier.waiting.size()) == block.thread_count;
  if (everyone) {
    const Time now = current_scheduler->NextTime() - 1;
    for (Thread* thread : barrier.waiting) thread->clock.floor = now;
  } else {
    JoinClocks(barrier.waiting, barrier.has_clock ? &barrier.clock : nullptr);
  }
  for (Thread* thread : barrier.waiting) {
    thread->warp->at_barrier &= ~BitOf(*thread);
    thread->barrier = -1;
    current_scheduler->Wake(*thread);
  }
  barrier.result = barrier.votes;
  barrier.waiting.clear();
  barrier.arrived = barrier.votes = barrier.expected = 0;
  barrier.has_clock = false;
}

void Arrive(const char* what, int index, int count, bool waits, bool vote, const Place& place) {
  Thread& self = Self(place);
  current_scheduler->MaybeGiveWay();
  Block& block = *self.block;
  if (index < 0 || index >= static_cast<int>(block.barriers.size()))
    Fail(std::string(what) + ": there is no barrier " + std::to_string(index), place);
  Barrier& barrier = block.barriers[index];
  if (barrier.arrived > 0 && barrier.expected != count)
    Fail(std::string(what) + ": expects " + std::to_string(count) + " threads, while those at " +
             Tell(what, barrier.place) + " expect " + std::to_string(barrier.expected),
         place);
  if (index == 0 && barrier.arrived > 0 && !SamePlace(barrier.place, place))
    Fail("divergence: this thread comes to " + Tell(what, place) + ", while others wait in " +
             Tell(what, barrier.place),
         place);
  barrier.place = place;
  barrier.expected = count;
  barrier.votes += vote ? 1 : 0;
  if (++barrier.arrived > count) Fail(std::string(what) + ": more threads than expected", place);
  if (waits) {
    barrier.waiting.push_back(&self);
    self.warp->at_barrier |= BitOf(self);
    self.barrier = index;
  } else {
    if (barrier.has_clock) {
      barrier.clock.Join(self.clock);
    } else {
      barrier.clock = self.clock;
    }
    barrier.has_clock = true;
    barrier.clock.known[self.index] = current_scheduler->NextTime() - 1;
  }
  if (barrier.arrived == count) {
    if (barrier.waiting.empty()) Fail(std::string(what) + ": no thread waits", place);
    CompleteBarrier(block, barrier);
    return;
  }
  if (waits) current_scheduler->Sleep(what, place);
}

}  // namespace

int SyncThreads(const Place& place, bool predicate) {
  Thread& self = Self(place);
  Block& block = *self.block;
  Arrive("__syncthreads", 0, block.thread_count, true, predicate, place);
  return block.barriers[0].result;
}

}  // namespace octet::emulator

namespace octet::hw {

namespace {

void CheckCount(int barrier, int threads, Place place) {
  if (barrier < 1) emulator::Fail("bar: barrier 0 belongs to __syncthreads", place);
  if (threads <= 0 || threads % emulator::kWarpLanes != 0)
    emulator::Fail("bar: the count of threads is not a multiple of 32", place);
}

}  // namespace

void bar_sync(int barrier, int threads, Place place) {
  CheckCount(barrier, threads, place);
  emulator::Arrive("bar_sync", barrier, threads, true, false, place);
}

void cluster_sync(Place place) {
  emulator::Thread& self = emulator::Self(place);
  emulator::current_scheduler->MaybeGiveWay();
  emulator::Cluster& cluster = *self.block->cluster;
  size_t threads = 0;
  bool ended = cluster.ended;
  for (const emulator::Block* block : cluster.blocks) {
    ended = ended || block->live < block->thread_count;
    threads += block->thread_count;
  }
  if (ended) emulator::Fail("cluster_sync: a thread of the cluster has ended", place);
  if (!cluster.waiting.empty() && !emulator::SamePlace(cluster.place, place))
    emulator::Fail("divergence: this thread comes to " + emulator::Tell("cluster_sync", place) +
                       ", while others wait in " + emulator::Tell("cluster_sync", cluster.place),
                   place);
  cluster.place = place;
  cluster.waiting.push_back(&self);
  if (cluster.waiting.size() < threads) {
    self.warp->at_barrier |= emulator::BitOf(self);
    return emulator::current_scheduler->Sleep("cluster_sync", place);
  }
  const emulator::Time now = emulator::current_scheduler->NextTime() - 1;
  for (emulator::Thread* thread : cluster.waiting) {
    thread->clock.floor = now;
    thread->warp->at_barrier &= ~emulator::BitOf(*thread);
    emulator::current_scheduler->Wake(*thread);
  }
  cluster.waiting.clear();
  emulator::current_scheduler->Progress();
}

void bar_arrive(int barrier, int threads, Place place) {
  CheckCount(barrier, threads, place);
  emulator::Arrive("bar_arrive", barrier, threads, false, false, place);
}

}  // namespace octet::hw
