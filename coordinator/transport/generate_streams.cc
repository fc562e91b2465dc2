#include "coordinator/transport/generate_streams.h"

#include <utility>

#include "coordinator/transport/generate_call.h"

namespace octet::transport {

GenerateStreams::GenerateStreams(GenerationService* service,
                                 std::unique_ptr<grpc::ServerCompletionQueue> queue,
                                 intake::Intake* intake, std::function<void(uint64_t)> cancel)
    : service_(service),
      intake_(intake),
      cancel_(std::move(cancel)),
      loop_("octet-streams", std::move(queue), [this] { AdvanceWoken(); }) {
  for (int i = 0; i < kCallsAwaited; ++i) AwaitCall();
}

GenerateStreams::~GenerateStreams() {
  std::unique_lock lock(mutex_);
  all_over_.wait(lock, [this] { return calls_ == 0; });
}

void GenerateStreams::AwaitCall() {
  {
    const std::lock_guard lock(mutex_);
    ++calls_;
  }
  new GenerateCall(this);
}

void GenerateStreams::Forget() {
  const std::lock_guard lock(mutex_);
  if (--calls_ == 0) all_over_.notify_all();
}

void GenerateStreams::Wake(GenerateCall* call) {
  bool was_empty;
  {
    const std::lock_guard lock(mutex_);
    was_empty = woken_.empty();
    woken_.push_back(call);
  }
  if (was_empty) loop_.Wake();
}

void GenerateStreams::AdvanceWoken() {
  {
    const std::lock_guard lock(mutex_);
    advancing_.swap(woken_);
  }
  for (GenerateCall* call : advancing_) call->Advance();
  advancing_.clear();
}

}  // namespace octet::transport
