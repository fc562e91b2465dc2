#include "comm/timed.h"

#include <chrono>

namespace octet::comm {

int64_t SteadyNanoseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

class TimedCommunicator::Span {
 public:
  explicit Span(TimedCommunicator* timed) : timed_(timed), begin_(timed->clock_()) {}
  ~Span() {
    timed_->collective_ns_.fetch_add(timed_->clock_() - begin_, std::memory_order_relaxed);
    if (counts_ && timed_->done_ != nullptr) {
      timed_->done_->fetch_add(1, std::memory_order_relaxed);
    }
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;
  void DoNotCount() { counts_ = false; }

 private:
  TimedCommunicator* timed_;
  int64_t begin_;
  bool counts_ = true;
};

void TimedCommunicator::Barrier() {
  const Span span(this);
  inner_->Barrier();
}

void TimedCommunicator::AllGather(std::span<const std::byte> send,
                                  std::span<const int64_t> bytes_of_rank, std::span<std::byte> recv,
                                  Stream& stream) {
  const Span span(this);
  inner_->AllGather(send, bytes_of_rank, recv, stream);
}

void TimedCommunicator::TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out,
                                      int64_t count, Stream& stream) {
  const Span span(this);
  inner_->TreeAllReduce(tree, roots, out, count, stream);
}

const float* TimedCommunicator::GatherRoots(const ExchangeTree& tree, const float* roots,
                                            int64_t count, Stream& stream) {
  Span span(this);
  const float* gathered = inner_->GatherRoots(tree, roots, count, stream);
  if (gathered == nullptr) span.DoNotCount();
  return gathered;
}

}  // namespace octet::comm
