// Counts what passes through a communicator, for the tests of the traffic invariants (a decode step
// is two collectives a layer and two more). Used by the rank's thread alone.
#pragma once

#include "comm/communicator.h"

namespace octet::comm {

// Bytes are those of the whole exchange, so that every rank counts the same: the broadcast data,
// the gathered data, the roots of all ranks.
struct Traffic {
  int64_t calls = 0;
  int64_t bytes = 0;
  bool operator==(const Traffic&) const = default;
};

struct TrafficCounts {
  Traffic barrier, broadcast, all_gather, tree_all_reduce;
  int64_t collectives() const { return all_gather.calls + tree_all_reduce.calls; }
  bool operator==(const TrafficCounts&) const = default;
};

class CountingCommunicator final : public Communicator {
 public:
  explicit CountingCommunicator(Communicator* inner) : inner_(inner) {}  // not owned

  const TrafficCounts& counts() const { return counts_; }
  void Reset() { counts_ = {}; }

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  void Barrier() override;
  void Broadcast(std::span<std::byte> data, int root) override;
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
  Communicator* inner_;
  TrafficCounts counts_;
};

}  // namespace octet::comm
