#include "comm/single.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "comm/ordered_sum.h"

namespace octet::comm {

void SingleCommunicator::Broadcast(std::span<std::byte>, int root) { OCTET_CHECK_EQ(root, 0); }

void SingleCommunicator::AllGather(std::span<const std::byte> send,
                                   std::span<const int64_t> bytes_of_rank,
                                   std::span<std::byte> recv, Stream& stream) {
  OCTET_CHECK(stream.device() == Device::kCpu);
  OCTET_CHECK_EQ(bytes_of_rank.size(), size_t{1});
  OCTET_CHECK_EQ(static_cast<int64_t>(send.size()), bytes_of_rank[0]);
  OCTET_CHECK_EQ(recv.size(), send.size());
  if (!send.empty()) std::memmove(recv.data(), send.data(), send.size());
}

void SingleCommunicator::TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out,
                                       int64_t count, Stream& stream) {
  OCTET_CHECK(stream.device() == Device::kCpu);
  const RootShare share = ShareOf(tree, 0, 1);
  std::array<const float*, kRootsMax> pointers;
  for (int64_t i = 0; i < share.total; ++i) pointers[i] = roots + i * count;
  OrderedSum({pointers.data(), static_cast<size_t>(share.total)}, tree.merges, 0, count, out);
}

}  // namespace octet::comm
