#include "comm/threads.h"

#include "base/buffer.h"
#include "base/check.h"
#include "comm/shared_group.h"

namespace octet::comm {

ThreadGroup::ThreadGroup(int ranks, const CommunicatorLimits& limits,
                         const std::atomic<bool>* stop) {
  OCTET_CHECK_GE(ranks, 1);
  const auto buffer = std::make_shared<Buffer>(SharedRegionBytes(limits, ranks));
  const std::shared_ptr<std::byte> region(buffer, buffer->data());
  SharedGroup::Initialize(region.get());
  for (int rank = 0; rank < ranks; ++rank) {
    communicators_.push_back(std::make_unique<SharedGroup>(region, rank, ranks, limits, stop));
  }
}

}  // namespace octet::comm
