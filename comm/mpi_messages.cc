#include "comm/mpi_messages.h"

#include <mpi.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <cstring>
#include <thread>
#include <vector>

#include "base/buffer.h"
#include "base/check.h"
#include "comm/mpi_check.h"
#include "comm/ordered_sum.h"
#include "comm/shared_group.h"
#include "comm/wait_word.h"

namespace octet::comm {
namespace {

constexpr int kPolls = 200;  // before the first sleep
constexpr std::chrono::microseconds kSleepMin{20};
constexpr std::chrono::microseconds kSleepMax{1000};
constexpr int64_t kGrainFloats = 8192;  // of one item of the thread pool

class MessageCommunicator final : public Communicator {
 public:
  MessageCommunicator(const CommunicatorLimits& limits, const std::atomic<bool>* stop)
      : limits_(limits) {
    OCTET_MPI(MPI_Comm_dup(MPI_COMM_WORLD, &comm_));
    OCTET_MPI(MPI_Comm_rank(comm_, &rank_));
    OCTET_MPI(MPI_Comm_size(comm_, &ranks_));
    wait_ = {.rank = rank_, .stop = stop};
    counts_.resize(ranks_);
    offsets_.resize(ranks_);
    area_ = Buffer(AreaBytes(limits, ranks_));
  }
  ~MessageCommunicator() override { OCTET_MPI(MPI_Comm_free(&comm_)); }

  int rank() const override { return rank_; }
  int size() const override { return ranks_; }

  void Barrier() override {
    MPI_Request request;
    OCTET_MPI(MPI_Ibarrier(comm_, &request));
    Await(request);
  }

  void Broadcast(std::span<std::byte> data, int root) override {
    OCTET_CHECK_LE(static_cast<int64_t>(data.size()), limits_.broadcast_bytes_max);
    OCTET_CHECK_LE(data.size(), size_t{INT_MAX});
    MPI_Request request;
    OCTET_MPI(
        MPI_Ibcast(data.data(), static_cast<int>(data.size()), MPI_BYTE, root, comm_, &request));
    Await(request);
  }

  void AllGather(std::span<const std::byte> send, std::span<const int64_t> bytes_of_rank,
                 std::span<std::byte> recv, Stream& stream) override;
  void TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out, int64_t count,
                     Stream& stream) override;
  float* RootsPlace(const ExchangeTree&, int64_t) override { return nullptr; }
  const float* GatherRoots(const ExchangeTree&, const float*, int64_t, Stream&) override {
    return nullptr;
  }

 private:
  void Await(MPI_Request request) {
    std::chrono::microseconds sleep = kSleepMin;
    for (int poll = 0;; ++poll) {
      int done = 0;
      OCTET_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
      if (done != 0) return;
      if (poll < kPolls) {
        std::this_thread::yield();
        continue;
      }
      EndIfStopped(wait_);
      std::this_thread::sleep_for(sleep);
      sleep = std::min(sleep * 2, kSleepMax);
    }
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int ranks_ = 1;
  CommunicatorLimits limits_;
  WaitPolicy wait_;
  std::vector<int> counts_;   // [ranks] of the call at hand
  std::vector<int> offsets_;  // [ranks]
  Buffer area_;               // the roots of a piece of a sum
};

void MessageCommunicator::AllGather(std::span<const std::byte> send,
                                    std::span<const int64_t> bytes_of_rank,
                                    std::span<std::byte> recv, Stream& stream) {
  OCTET_CHECK(stream.device() == Device::kCpu);
  OCTET_CHECK_EQ(static_cast<int>(bytes_of_rank.size()), ranks_);
  OCTET_CHECK_EQ(static_cast<int64_t>(send.size()), bytes_of_rank[rank_]);
  OCTET_CHECK_LE(recv.size(), size_t{INT_MAX});
  OCTET_CHECK_LE(static_cast<int64_t>(recv.size()), limits_.gather_bytes_max);
  int64_t total = 0;
  for (int r = 0; r < ranks_; ++r) {
    counts_[r] = static_cast<int>(bytes_of_rank[r]);
    offsets_[r] = static_cast<int>(total);
    total += bytes_of_rank[r];
  }
  OCTET_CHECK_EQ(static_cast<int64_t>(recv.size()), total);
  MPI_Request request;
  OCTET_MPI(MPI_Iallgatherv(send.data(), counts_[rank_], MPI_BYTE, recv.data(), counts_.data(),
                            offsets_.data(), MPI_BYTE, comm_, &request));
  Await(request);
}

// In pieces that fit the area: every rank gathers all roots of the piece and adds them up.
void MessageCommunicator::TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out,
                                        int64_t count, Stream& stream) {
  OCTET_CHECK(stream.device() == Device::kCpu);
  const RootShare share = ShareOf(tree, rank_, ranks_);
  OCTET_CHECK_LE(share.own_max * count, limits_.reduce_floats_max);
  auto* area = reinterpret_cast<float*>(area_.data());
  const int64_t piece_max =
      area_.bytes() / static_cast<int64_t>(sizeof(float)) / share.total;  // elements
  std::array<const float*, kRootsMax> pointers;
  for (int64_t begin = 0; begin < count; begin += piece_max) {
    const int64_t piece = std::min(piece_max, count - begin);
    for (int64_t i = 0; i < share.own; ++i) {
      std::memcpy(area + (share.first + i) * piece, roots + i * count + begin,
                  static_cast<size_t>(piece) * sizeof(float));
    }
    int64_t first = 0;
    for (int r = 0; r < ranks_; ++r) {
      counts_[r] = static_cast<int>(tree.roots_of_rank[r] * piece);
      offsets_[r] = static_cast<int>(first * piece);
      first += tree.roots_of_rank[r];
    }
    MPI_Request request;
    OCTET_MPI(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_FLOAT, area, counts_.data(), offsets_.data(),
                              MPI_FLOAT, comm_, &request));
    Await(request);
    for (int64_t i = 0; i < share.total; ++i) pointers[i] = area + i * piece;
    stream.pool().ParallelFor(piece, kGrainFloats, [&](int64_t from, int64_t to) {
      OrderedSum({pointers.data(), static_cast<size_t>(share.total)}, tree.merges, from, to,
                 out + begin);
    });
  }
}

}  // namespace

std::unique_ptr<Communicator> MakeMessageCommunicator(const CommunicatorLimits& limits,
                                                      const std::atomic<bool>* stop) {
  return std::make_unique<MessageCommunicator>(limits, stop);
}

}  // namespace octet::comm
