#include "coordinator/transport/generate_streams.h"

#include <time.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "coordinator/transport/generate_call.h"

namespace octet::transport {
namespace {

// Processor time of this thread.
std::chrono::nanoseconds ThreadTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

GenerateStreams::GenerateStreams(GenerationService* service,
                                 std::unique_ptr<grpc::ServerCompletionQueue> queue,
                                 intake::Intake* intake, std::function<void(uint64_t)> cancel,
                                 int64_t interval, int64_t unread_bytes_max)
    : service_(service),
      intake_(intake),
      cancel_(std::move(cancel)),
      interval_(interval),
      unread_bytes_max_(unread_bytes_max),
      loop_("octet-streams", std::move(queue), [this] { OnWoken(); }) {
  for (int i = 0; i < kCallsAwaited; ++i) AwaitCall();
}

GenerateStreams::~GenerateStreams() { AwaitEnd(); }

void GenerateStreams::AwaitEnd() {
  std::unique_lock lock(mutex_);
  all_over_.wait(lock, [this] { return calls_.empty(); });
}

void GenerateStreams::AwaitCall() {
  const std::lock_guard lock(mutex_);  // the call may arrive, and end, at once
  calls_.insert(new GenerateCall(this));
}

void GenerateStreams::Forget(GenerateCall* call) {
  const std::lock_guard lock(mutex_);
  calls_.erase(call);
  if (calls_.empty()) all_over_.notify_all();
}

void GenerateStreams::CountUnread(int64_t bytes) {
  const int64_t before = unread_bytes_.fetch_add(bytes);
  if (before <= unread_bytes_max_ && before + bytes > unread_bytes_max_) loop_.Wake();
}

void GenerateStreams::DropUnread() {
  while (unread_bytes_ > unread_bytes_max_) {
    std::vector<GenerateCall*> calls;  // one may not be locked while mutex_ is held
    {
      const std::lock_guard lock(mutex_);
      calls.assign(calls_.begin(), calls_.end());
    }
    GenerateCall* const most = *std::ranges::max_element(calls, {}, &GenerateCall::UnreadBytes);
    const int64_t bytes = most->UnreadBytes();
    if (bytes == 0) return;
    Log(LogLevel::kWarning, "an answer is dropped, and its call cancelled: its client leaves " +
                                std::to_string(bytes) +
                                " bytes of it unread, and there is no room for more");
    most->Drop();
  }
}

void GenerateStreams::Wake(GenerateCall* call) {
  bool is_first;
  {
    const std::lock_guard lock(mutex_);
    is_first = woken_.empty() && !held_ && !resting_;
    woken_.push_back(call);
  }
  if (is_first) loop_.Wake();
}

void GenerateStreams::Hold() {
  const std::lock_guard lock(mutex_);
  held_ = true;
}

void GenerateStreams::Release() {
  bool is_due;
  {
    const std::lock_guard lock(mutex_);
    held_ = false;
    is_due = !woken_.empty() && !resting_;
  }
  if (is_due) loop_.Wake();
}

void GenerateStreams::OnWoken() {
  DropUnread();
  if (std::chrono::steady_clock::now() < rest_end_) return Rest();
  bool was_resting, is_due;
  {
    const std::lock_guard lock(mutex_);
    was_resting = std::exchange(resting_, false);
    is_due = !woken_.empty();
  }
  if (!is_due) return;
  AdvanceWoken();
  if (was_resting) Rest();  // words come faster than it rests: the next one is on its way
}

void GenerateStreams::Rest() {
  {
    const std::lock_guard lock(mutex_);
    resting_ = true;
  }
  loop_.WakeAt(rest_end_);
}

void GenerateStreams::AdvanceWoken() {
  {
    const std::lock_guard lock(mutex_);
    advancing_.swap(woken_);
  }
  const std::chrono::nanoseconds begin = ThreadTime();
  for (GenerateCall* call : advancing_) call->Advance();
  advancing_.clear();
  const std::chrono::nanoseconds rest = kRestPerWork * (ThreadTime() - begin);
  rest_end_ = std::chrono::steady_clock::now() + std::min<std::chrono::nanoseconds>(rest, kRestMax);
}

}  // namespace octet::transport
