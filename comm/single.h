// The communicator of a group of one rank, on any device: nothing to wait for, the sums still in
// the tree's order.
#pragma once

#include "comm/communicator.h"

namespace octet::comm {

class SingleCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void Barrier() override {}
  void Broadcast(std::span<std::byte> data, int root) override;
  void AllGather(std::span<const std::byte> send, std::span<const int64_t> bytes_of_rank,
                 std::span<std::byte> recv, Stream& stream) override;
  void TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out, int64_t count,
                     Stream& stream) override;
  float* RootsPlace(const ExchangeTree&, int64_t) override { return nullptr; }
  const float* GatherRoots(const ExchangeTree& tree, const float* roots, int64_t count,
                           Stream& stream) override;
};

}  // namespace octet::comm
