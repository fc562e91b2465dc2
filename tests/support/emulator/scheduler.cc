#include "tests/support/emulator/scheduler.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace octet::emulator {

constinit thread_local Thread* current_thread = nullptr;
constinit thread_local Scheduler* current_scheduler = nullptr;

namespace {

constexpr uint32_t kGiveWayOneIn = 16;
constexpr uint32_t kDeliverOneIn = 8;
constexpr size_t kResidentBlocks = 2;       // run side by side from the start
constexpr size_t kResidentBlocksMax = 512;  // when blocks wait for one another
constexpr int64_t kIdlePollsMax = 100000;

// Where the launch before left off. Time goes on from launch to launch, so that what a block of an
// earlier launch knew is old, and need not be cleared.
Time& TimeSoFar() {
  static Time time = 0;
  return time;
}

void RunThread() {
  FiberEntered();
  const KernelCall& kernel = current_scheduler->kernel();
  kernel.call(kernel.arguments.get());
  current_scheduler->EndThread();
}

}  // namespace

Scheduler::Scheduler(const KernelCall& kernel, const LaunchShape& shape, uint64_t seed, LaunchId id,
                     const Chain& past)
    : kernel_(kernel),
      shape_(shape),
      seed_(seed),
      id_(id),
      past_(past),
      generator_(seed),
      now_(TimeSoFar() + 1) {
  order_.resize(static_cast<size_t>(shape.block_count() / shape.cluster));
  std::iota(order_.begin(), order_.end(), 0u);
  if (random()) std::shuffle(order_.begin(), order_.end(), generator_);
}

Scheduler::~Scheduler() = default;

bool Scheduler::StartCluster() {
  if (next_cluster_ == order_.size()) return false;
  const auto cluster = std::make_shared<Cluster>();
  const int64_t first = int64_t{order_[next_cluster_++]} * shape_.cluster;
  for (int64_t index = first; index < first + shape_.cluster; ++index) {
    blocks_.push_back(TakeBlock(shape_, index, now_ - 1, RunThread));
    Block& block = *blocks_.back();
    block.cluster = cluster;
    cluster->blocks.push_back(&block);
    for (Warp& warp : block.warps) {
      warp.priority = random() ? Random() : 0;
      warp.next_lane = random() ? static_cast<int>(Random() % kWarpLanes) : 0;
    }
  }
  return true;
}

void Scheduler::ReleaseFinished() {
  for (size_t i = 0; i < blocks_.size();) {
    Block& block = *blocks_[i];
    if (block.live > 0) {
      ++i;
      continue;
    }
    block.cluster->ended = true;
    ReturnBlock(std::move(blocks_[i]));
    blocks_.erase(blocks_.begin() + static_cast<int64_t>(i));
  }
}

void Scheduler::Run() {
  current_scheduler = this;
  while (true) {
    ReleaseFinished();
    while (blocks_.size() < kResidentBlocks && StartCluster()) {
    }
    if (blocks_.empty()) break;
    Thread* next = PickNext();
    if (next == nullptr) {
      Fail("deadlock: no thread can go on\n" + Waiting(), Place::current());
    }
    current_thread = next;
    SwitchFiber(main_, next->fiber);  // comes back when a block has ended, or nothing can run
  }
  current_thread = nullptr;
  current_scheduler = nullptr;
  TimeSoFar() = now_;
}

Warp* Scheduler::ChooseWarp() {
  if (current_warp_ != nullptr && current_warp_->ready != 0) return current_warp_;
  Warp* best = nullptr;
  for (auto& block : blocks_) {
    for (Warp& warp : block->warps) {
      if (warp.ready == 0) continue;
      if (!random()) return &warp;
      if (best == nullptr || warp.priority > best->priority) best = &warp;
    }
  }
  return best;
}

Thread* Scheduler::ChooseLane(Warp& warp) {
  const uint32_t rotated = std::rotr(warp.ready, warp.next_lane);
  const int lane = (std::countr_zero(rotated) + warp.next_lane) % kWarpLanes;
  return warp.lanes[lane];
}

// Null when nothing can run in the blocks that are there and no block can be added.
Thread* Scheduler::PickNext() {
  while (true) {
    if (OneIn(kDeliverOneIn)) DeliverOne();
    if (Warp* warp = ChooseWarp(); warp != nullptr) {
      current_warp_ = warp;
      return ChooseLane(*warp);
    }
    current_warp_ = nullptr;
    if (DeliverOne() || WakePollers(true)) continue;
    const bool all_wait = std::any_of(blocks_.begin(), blocks_.end(),
                                      [](const auto& block) { return block->live > 0; });
    if (all_wait && blocks_.size() < kResidentBlocksMax && StartCluster()) continue;
    if (!WakePollers(false)) return nullptr;
    if (++idle_polls_ > kIdlePollsMax)
      Fail("livelock: every thread that could go on polls global memory in vain\n" + Waiting(),
           Place::current());
  }
}

bool Scheduler::WakePollers(bool only_after_progress) {
  bool any = false;
  for (auto& block : blocks_) {
    for (int i = 0; i < block->thread_count; ++i) {
      Thread& thread = block->threads[i];
      if (!thread.polls || (only_after_progress && thread.polled_progress == progress_)) continue;
      Wake(thread);
      any = true;
    }
  }
  return any;
}

void Scheduler::SwitchTo(Thread* next, bool from_ends) {
  Thread& from = *current_thread;
  if (next == &from) return;
  current_thread = next;
  SwitchFiber(from.fiber, next == nullptr ? main_ : next->fiber, from_ends);
}

void Scheduler::Sleep(const char* what, const Place& place) {
  Thread& self = *current_thread;
  self.wait = {what, place};
  self.warp->ready &= ~BitOf(self);
  SwitchTo(PickNext(), false);
  self.wait.what = nullptr;
}

void Scheduler::MaybeGiveWay() {
  if (!OneIn(kGiveWayOneIn)) return;
  Thread& self = *current_thread;
  self.warp->priority = Random();
  self.warp->next_lane = static_cast<int>(Random() % kWarpLanes);
  current_warp_ = nullptr;
  self.wait = {"its turn", Place::current()};
  SwitchTo(PickNext(), false);
  self.wait.what = nullptr;
}

void Scheduler::Poll(const Place& place) {
  Thread& self = *current_thread;
  self.polls = true;
  Sleep("ld_acquire", place);
  self.polls = false;
}

void Scheduler::Wake(Thread& thread) { thread.warp->ready |= BitOf(thread); }

void Scheduler::EndThread() {
  Thread& self = *current_thread;
  const int warpgroup = self.index / 128;
  if (warpgroup < static_cast<int>(self.block->warpgroups.size())) {
    const Warpgroup& group = self.block->warpgroups[warpgroup];
    const bool in_flight = std::any_of(group.groups.begin(), group.groups.end(),
                                       [](const auto& products) { return !products.empty(); });
    if (!group.open.empty() || in_flight)
      Fail("wgmma: the thread ends with a product in flight", Place::current());
  }
  if (!self.knows_past)
    Fail("a thread of an early launch ends without wait_for_past: what comes next relies on it",
         Place::current());
  self.done = true;
  self.warp->ready &= ~BitOf(self);
  self.warp->done |= BitOf(self);
  const bool block_ended = --self.block->live == 0;
  SwitchTo(block_ended ? nullptr : PickNext(), true);
  __builtin_unreachable();
}

bool Scheduler::DeliverOne() {
  for (auto& block : blocks_) {
    if (block->bulk_copies.empty()) continue;
    const size_t i = random() ? Random() % block->bulk_copies.size() : 0;
    const BulkCopy copy = block->bulk_copies[i];
    block->bulk_copies.erase(block->bulk_copies.begin() + static_cast<int64_t>(i));
    DeliverBulkCopy(*block, copy);
    return true;
  }
  return false;
}

std::string Scheduler::Waiting() const {
  std::string text;
  int lines = 0;
  for (const auto& block : blocks_) {
    for (int begin = 0, end = 0; begin < block->thread_count; begin = end) {
      const Thread& first = block->threads[begin];
      const auto same = [&](const Thread& other) {
        if (first.done || other.done) return first.done == other.done;
        return other.wait.what == first.wait.what &&
               other.wait.place.line() == first.wait.place.line();
      };
      while (end < block->thread_count && same(block->threads[end])) ++end;
      if (++lines > 40) return text + "  ...\n";
      text += "  block (" + std::to_string(block->index.x) + ", " + std::to_string(block->index.y) +
              ", " + std::to_string(block->index.z) + ") threads " + std::to_string(begin) + ".." +
              std::to_string(end - 1) + ": ";
      if (first.done) {
        text += "ended\n";
      } else if (first.wait.what == nullptr) {
        text += "running\n";
      } else {
        text += std::string("waits for ") + first.wait.what + " at " +
                first.wait.place.file_name() + ":" + std::to_string(first.wait.place.line()) + "\n";
      }
    }
  }
  return text;
}

}  // namespace octet::emulator
