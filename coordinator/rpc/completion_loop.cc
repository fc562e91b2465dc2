#include "coordinator/rpc/completion_loop.h"

#include <grpc/support/time.h>
#include <pthread.h>

#include <algorithm>
#include <utility>

namespace octet::rpc {

CompletionLoop::CompletionLoop(std::string thread_name, std::unique_ptr<Queue> queue,
                               std::function<void()> on_wake)
    : thread_name_(std::move(thread_name)),
      queue_(std::move(queue)),
      on_wake_(std::move(on_wake)),
      thread_([this] { Run(); }) {}

CompletionLoop::~CompletionLoop() {
  queue_->Shutdown();
  thread_.join();
}

void CompletionLoop::Wake() {
  if (woken_.exchange(true)) return;
  // An alarm that is over already: its tag comes at once.
  alarm_.Set(queue_.get(), gpr_inf_past(GPR_CLOCK_MONOTONIC), static_cast<Completion*>(this));
}

void CompletionLoop::OnDone(bool) {
  woken_ = false;
  on_wake_();
}

void CompletionLoop::Run() {
  pthread_setname_np(pthread_self(), thread_name_.c_str());
  Completion* completion = nullptr;
  for (bool ok = false; Next(&completion, &ok);) {
    if (completion != nullptr) completion->OnDone(ok);
    if (wake_at_ == Clock::time_point::max() || Clock::now() < wake_at_) continue;
    wake_at_ = Clock::time_point::max();
    on_wake_();
  }
}

bool CompletionLoop::Next(Completion** completion, bool* ok) {
  gpr_timespec until = gpr_inf_future(GPR_CLOCK_MONOTONIC);
  if (wake_at_ != Clock::time_point::max()) {
    const std::chrono::nanoseconds left = std::max(wake_at_ - Clock::now(), Clock::duration(0));
    until =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(left.count(), GPR_TIMESPAN));
  }
  void* tag = nullptr;
  const auto status = queue_->AsyncNext(&tag, ok, until);
  *completion = status == Queue::GOT_EVENT ? static_cast<Completion*>(tag) : nullptr;
  return status != Queue::SHUTDOWN;
}

}  // namespace octet::rpc
