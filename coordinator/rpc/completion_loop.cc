#include "coordinator/rpc/completion_loop.h"

#include <grpc/support/time.h>
#include <pthread.h>

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
  void* tag = nullptr;
  for (bool ok = false; queue_->Next(&tag, &ok);) static_cast<Completion*>(tag)->OnDone(ok);
}

}  // namespace octet::rpc
