// Adds up the time that a rank spends in collectives, waiting for the others included, and counts
// them as they end. A broadcast is not counted: that is where an idle rank waits for its next plan.
// On a device's stream this is the time to enqueue them.
// Used by the rank's thread; the sum may be read from any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "comm/communicator.h"

namespace octet::comm {

// Nanoseconds since any fixed point.
int64_t SteadyNanoseconds();

class TimedCommunicator final : public Communicator {
 public:
  using Clock = int64_t (*)();
  // `done` (may be null) is one more after every collective. Neither it nor `inner` is owned.
  explicit TimedCommunicator(Communicator* inner, std::atomic<uint64_t>* done = nullptr,
                             Clock clock = SteadyNanoseconds)
      : inner_(inner), done_(done), clock_(clock) {}

  int64_t collective_us() const {
    return collective_ns_.load(std::memory_order_relaxed) / kNanosecondsPerMicrosecond;
  }

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  void Barrier() override;
  void Broadcast(std::span<std::byte> data, int root) override { inner_->Broadcast(data, root); }
  void AllGather(std::span<const std::byte> send, std::span<const int64_t> bytes_of_rank,
                 std::span<std::byte> recv, Stream& stream) override;
  void TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out, int64_t count,
                     Stream& stream) override;
  float* RootsPlace(const ExchangeTree& tree, int64_t count) override {
    return inner_->RootsPlace(tree, count);
  }
  const float* GatherRoots(const ExchangeTree& tree, const float* roots, int64_t count,
                           Stream& stream) override;

 private:
  static constexpr int64_t kNanosecondsPerMicrosecond = 1000;
  class Span;  // adds its lifetime

  Communicator* inner_;
  std::atomic<uint64_t>* done_;
  Clock clock_;
  std::atomic<int64_t> collective_ns_{0};
};

}  // namespace octet::comm
