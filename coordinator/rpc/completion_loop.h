// One thread that drains one completion queue of gRPC's: what is done is told to whoever began it,
// on that thread, one after another. Owns the queue; knows nothing of calls.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

namespace octet::rpc {

// The tag of an operation. It lives until it was told.
class Completion {
 public:
  virtual void OnDone(bool ok) = 0;

 protected:
  ~Completion() = default;
};

// Tells a method of its owner.
template <class Owner, void (Owner::*kMethod)(bool ok)>
class CompletionOf final : public Completion {
 public:
  explicit CompletionOf(Owner* owner) : owner_(owner) {}
  void OnDone(bool ok) override { (owner_->*kMethod)(ok); }

 private:
  Owner* const owner_;
};

class CompletionLoop final : private Completion {
 public:
  using Queue = grpc::ServerCompletionQueue;
  using Clock = std::chrono::steady_clock;
  // `on_wake` is called on the thread, which is named `thread_name`.
  CompletionLoop(std::string thread_name, std::unique_ptr<Queue> queue,
                 std::function<void()> on_wake);
  // REQUIRES: the queue's server is shut down, no operation is under way, nobody wakes it any more.
  ~CompletionLoop();
  CompletionLoop(const CompletionLoop&) = delete;
  CompletionLoop& operator=(const CompletionLoop&) = delete;

  Queue* queue() { return queue_.get(); }
  // on_wake is called soon, once for all the wakes until then. Any thread.
  void Wake();
  // on_wake is called at `time`, to gRPC's millisecond, unless another time was named meanwhile.
  // From the loop's thread alone, which then sleeps until there and is not woken by another.
  void WakeAt(Clock::time_point time) { wake_at_ = time; }

 private:
  void Run();
  // The next tag, or null when it is time to wake; false at the end.
  bool Next(Completion** completion, bool* ok);
  void OnDone(bool ok) override;

  const std::string thread_name_;
  const std::unique_ptr<Queue> queue_;
  const std::function<void()> on_wake_;
  std::atomic<bool> woken_{false};  // alarm_ is set and was not told
  grpc::Alarm alarm_;
  Clock::time_point wake_at_ = Clock::time_point::max();
  std::thread thread_;
};

}  // namespace octet::rpc
