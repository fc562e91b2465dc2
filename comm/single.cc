#include "comm/single.h"

#include <cstring>

#include "base/check.h"
#include "comm/copy_bytes.h"
#include "comm/ordered_sum.h"

namespace octet::comm {

void SingleCommunicator::Broadcast(std::span<std::byte>, int root) { OCTET_CHECK_EQ(root, 0); }

void SingleCommunicator::AllGather(std::span<const std::byte> send,
                                   std::span<const int64_t> bytes_of_rank,
                                   std::span<std::byte> recv, Stream& stream) {
  OCTET_CHECK_EQ(bytes_of_rank.size(), size_t{1});
  OCTET_CHECK_EQ(static_cast<int64_t>(send.size()), bytes_of_rank[0]);
  OCTET_CHECK_EQ(recv.size(), send.size());
  if (send.empty()) return;
  if (stream.device() == Device::kCpu) {
    std::memmove(recv.data(), send.data(), send.size());
    return;
  }
  OCTET_CHECK(cuda::CopyBytes != nullptr);
  cuda::CopyBytes(
      {.from = send.data(), .to = recv.data(), .bytes = static_cast<int64_t>(send.size())}, stream);
}

void SingleCommunicator::TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out,
                                       int64_t count, Stream& stream) {
  const RootShare share = ShareOf(tree, 0, 1);
  OrderedSumArgs sum = SumProgramOf(tree);
  for (int64_t i = 0; i < share.total; ++i) sum.roots[i] = roots + i * count;
  if (stream.device() == Device::kCpu) {
    OrderedSum({sum.roots.data(), static_cast<size_t>(share.total)}, tree.merges, 0, count, out);
    return;
  }
  OCTET_CHECK(cuda::OrderedSum != nullptr);
  sum.out = out;
  sum.count = count;
  cuda::OrderedSum(sum, stream);
}

// They are all here already.
const float* SingleCommunicator::GatherRoots(const ExchangeTree& tree, const float* roots, int64_t,
                                             Stream&) {
  ShareOf(tree, 0, 1);
  return roots;
}

}  // namespace octet::comm
