#include "comm/counting.h"

namespace octet::comm {
namespace {

void Count(Traffic& traffic, int64_t bytes) {
  ++traffic.calls;
  traffic.bytes += bytes;
}

int64_t RootBytes(const ExchangeTree& tree, int64_t count) {
  return static_cast<int64_t>(tree.merges.size()) * count * static_cast<int64_t>(sizeof(float));
}

}  // namespace

void CountingCommunicator::Barrier() {
  Count(counts_.barrier, 0);
  inner_->Barrier();
}

void CountingCommunicator::Broadcast(std::span<std::byte> data, int root) {
  Count(counts_.broadcast, static_cast<int64_t>(data.size()));
  inner_->Broadcast(data, root);
}

void CountingCommunicator::AllGather(std::span<const std::byte> send,
                                     std::span<const int64_t> bytes_of_rank,
                                     std::span<std::byte> recv, Stream& stream) {
  Count(counts_.all_gather, static_cast<int64_t>(recv.size()));
  inner_->AllGather(send, bytes_of_rank, recv, stream);
}

void CountingCommunicator::TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out,
                                         int64_t count, Stream& stream) {
  Count(counts_.tree_all_reduce, RootBytes(tree, count));
  inner_->TreeAllReduce(tree, roots, out, count, stream);
}

// An exchange that was not made is followed by one that is.
const float* CountingCommunicator::GatherRoots(const ExchangeTree& tree, const float* roots,
                                               int64_t count, Stream& stream) {
  const float* gathered = inner_->GatherRoots(tree, roots, count, stream);
  if (gathered != nullptr) Count(counts_.tree_all_reduce, RootBytes(tree, count));
  return gathered;
}

}  // namespace octet::comm
