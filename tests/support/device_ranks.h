// Ranks of one process whose devices are emulated: the bytes of a thread group, exchanged when a
// device's queue comes to it, as a call of the host. So collectives keep the order of the streams
// and can be recorded in graphs. Only where device memory is the host's.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "base/device/device.h"
#include "base/thread_pool.h"
#include "comm/threads.h"

namespace octet::testing {

class DeviceRank final : public comm::Communicator {
 public:
  explicit DeviceRank(comm::Communicator* inner) : inner_(inner), pool_(1), host_(&pool_) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  void Barrier() override { inner_->Barrier(); }
  void Broadcast(std::span<std::byte> data, int root) override { inner_->Broadcast(data, root); }

  void AllGather(std::span<const std::byte> send, std::span<const int64_t> bytes_of_rank,
                 std::span<std::byte> recv, Stream& stream) override {
    Later(stream, [this, send, recv,
                   bytes = std::vector<int64_t>(bytes_of_rank.begin(), bytes_of_rank.end())] {
      inner_->AllGather(send, bytes, recv, host_);
    });
  }
  void TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out, int64_t count,
                     Stream& stream) override {
    Later(stream, [=, this, &tree] { inner_->TreeAllReduce(tree, roots, out, count, host_); });
  }
  float* RootsPlace(const ExchangeTree&, int64_t) override { return nullptr; }
  const float* GatherRoots(const ExchangeTree&, const float*, int64_t, Stream&) override {
    return nullptr;
  }

 private:
  void Later(Stream& stream, std::function<void()> call) {
    calls_.push_back(std::move(call));  // for as long as a graph may launch it
    CallOnHost([](void* f) { (*static_cast<std::function<void()>*>(f))(); }, &calls_.back(),
               stream);
  }

  comm::Communicator* inner_;
  ThreadPool pool_;
  Stream host_;
  std::deque<std::function<void()>> calls_;
};

}  // namespace octet::testing
