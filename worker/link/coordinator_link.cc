#include "worker/link/coordinator_link.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <limits>
#include <mutex>
#include <thread>

#include "octet/v1/worker_link.grpc.pb.h"

namespace octet::worker {
namespace {

constexpr int kOrphanExitCode = 3;
constexpr int kCloseTimeoutMs = 2000;
constexpr int kPlanBytesMax = 64 << 20;
// A host that acknowledges no heartbeat for so long is gone, and the kernel ends the connection. A
// coordinator that only stands still keeps its ranks: its kernel acknowledges.
constexpr int kUnacknowledgedMsMax = 30'000;
constexpr double kLoadedProgress = 1e9;  // of all weights: a few bytes of a large model still count

}  // namespace

struct CoordinatorLink::State {
  std::unique_ptr<v1::WorkerLink::Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<v1::RankMessage, v1::CoordinatorMessage>> stream;
  int rank = 0;

  std::mutex write_mutex;
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::string> plans;  // serialized, in order; the coordinator sends at most two ahead
  bool ended = false;             // Shutdown was said
  bool closing = false;
  bool reader_done = false;
  // Written by the thread that runs the steps, read by the heartbeat's.
  std::atomic<uint64_t> steps_done{0};
  std::atomic<uint64_t> step_us{0};
  std::atomic<uint64_t> collective_us{0};
  std::atomic<uint64_t> sampling_us{0};
  std::atomic<uint64_t> slowest_step_us{0};  // since the last heartbeat
  std::atomic<uint64_t> collectives{0};
  std::atomic<double> loaded{0};
  std::thread reader;
  std::thread heart;

  Status Open(const std::string& address);

  // The first plan, or nothing. REQUIRES: `mutex` is held.
  std::optional<std::string> TakePlan() {
    if (plans.empty()) return std::nullopt;
    std::string plan = std::move(plans.front());
    plans.pop_front();
    return plan;
  }

  void Write(const v1::RankMessage& message) {
    std::lock_guard lock(write_mutex);
    stream->Write(message);  // a broken stream shows in the reader
  }

  void End() {
    std::lock_guard lock(mutex);
    ended = true;
    wake.notify_all();
  }

  void ReadLoop() {
    v1::CoordinatorMessage message;
    while (stream->Read(&message)) {
      if (message.has_plan()) {
        std::lock_guard lock(mutex);
        plans.push_back(message.plan().SerializeAsString());
        wake.notify_all();
      } else if (message.has_shutdown()) {
        End();
      }
    }
    std::lock_guard lock(mutex);
    reader_done = true;
    wake.notify_all();
    if (ended || closing) return;
    std::fprintf(stderr, "octet: rank %d: the coordinator is gone; exiting\n", rank);
    std::fflush(stderr);
    _exit(kOrphanExitCode);
  }

  void HeartLoop() {
    std::unique_lock lock(mutex);
    while (!closing) {
      wake.wait_for(lock, std::chrono::milliseconds(kHeartbeatMs), [&] { return closing; });
      if (closing) return;
      lock.unlock();
      v1::RankMessage message;
      v1::Heartbeat* heartbeat = message.mutable_heartbeat();
      heartbeat->set_steps_done(steps_done.load(std::memory_order_relaxed));
      heartbeat->set_step_us(step_us.load(std::memory_order_relaxed));
      heartbeat->set_collective_us(collective_us.load(std::memory_order_relaxed));
      heartbeat->set_sampling_us(sampling_us.load(std::memory_order_relaxed));
      heartbeat->set_slowest_step_us(slowest_step_us.exchange(0, std::memory_order_relaxed));
      const double fraction = loaded.load(std::memory_order_relaxed);
      heartbeat->set_loaded(static_cast<float>(fraction));
      heartbeat->set_progress(static_cast<uint64_t>(fraction * kLoadedProgress) +
                              collectives.load(std::memory_order_relaxed));
      Write(message);
      lock.lock();
    }
  }
};

Status CoordinatorLink::State::Open(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kPlanBytesMax);
  // gRPC makes the second TCP_USER_TIMEOUT where there is a first. Pings, which it is for, would
  // come every 24 days.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, std::numeric_limits<int>::max() - 1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kUnacknowledgedMsMax);
  const auto channel =
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  const auto deadline =
      std::chrono::system_clock::now() + std::chrono::seconds(kConnectTimeoutSeconds);
  if (!channel->WaitForConnected(deadline)) {
    return Unavailable("no coordinator answers at " + address + " within " +
                       std::to_string(kConnectTimeoutSeconds) + " s");
  }
  stub = v1::WorkerLink::NewStub(channel);
  stream = stub->Connect(&context);
  return {};
}

Result<std::unique_ptr<CoordinatorLink>> CoordinatorLink::Connect(const std::string& address,
                                                                  const v1::Hello& hello) {
  auto state = std::make_unique<State>();
  OCTET_RETURN_IF_ERROR(state->Open(address));
  state->rank = hello.rank();
  v1::RankMessage first;
  *first.mutable_hello() = hello;
  state->Write(first);
  v1::CoordinatorMessage answer;
  if (!state->stream->Read(&answer) || !answer.has_welcome()) {
    state->stream->WritesDone();
    const grpc::Status status = state->stream->Finish();
    return FailedPrecondition("the coordinator at " + address + " refused rank " +
                              std::to_string(hello.rank()) + ": " + status.error_message());
  }
  State* s = state.get();
  s->reader = std::thread([s] { s->ReadLoop(); });
  s->heart = std::thread([s] { s->HeartLoop(); });
  return std::unique_ptr<CoordinatorLink>(new CoordinatorLink(std::move(state)));
}

CoordinatorLink::CoordinatorLink(std::unique_ptr<State> state) : state_(std::move(state)) {}

CoordinatorLink::~CoordinatorLink() {
  {
    std::lock_guard lock(state_->mutex);
    state_->closing = true;
    state_->wake.notify_all();
  }
  state_->heart.join();
  {
    std::lock_guard lock(state_->write_mutex);
    state_->stream->WritesDone();
  }
  {
    // What was written last, a failure perhaps, has arrived when the coordinator ends the stream.
    std::unique_lock lock(state_->mutex);
    state_->wake.wait_for(lock, std::chrono::milliseconds(kCloseTimeoutMs),
                          [&] { return state_->reader_done; });
  }
  state_->context.TryCancel();
  state_->reader.join();
  (void)state_->stream->Finish();
}

void CoordinatorLink::TellLoaded(double fraction) {
  state_->loaded.store(fraction, std::memory_order_relaxed);
}

std::atomic<uint64_t>* CoordinatorLink::collectives() { return &state_->collectives; }

void CoordinatorLink::SayReady(const v1::Ready& ready) {
  v1::RankMessage message;
  *message.mutable_ready() = ready;
  state_->Write(message);
}

void CoordinatorLink::SayFailure(const Status& failure) {
  state_->End();  // what the coordinator does now is no reason to die in the middle of it
  v1::RankMessage message;
  message.mutable_failure()->set_code(static_cast<int>(failure.code()));
  message.mutable_failure()->set_message(failure.message());
  state_->Write(message);
}

std::optional<std::string> CoordinatorLink::NextPlan() {
  std::unique_lock lock(state_->mutex);
  state_->wake.wait(lock, [&] { return !state_->plans.empty() || state_->ended; });
  return state_->TakePlan();
}

std::optional<std::string> CoordinatorLink::NextPlanWithin(std::chrono::microseconds wait_max) {
  std::unique_lock lock(state_->mutex);
  state_->wake.wait_for(lock, wait_max, [&] { return !state_->plans.empty(); });
  return state_->TakePlan();
}

void CoordinatorLink::SendResult(v1::StepResult result) {
  v1::RankMessage message;
  *message.mutable_result() = std::move(result);
  state_->Write(message);
}

void CoordinatorLink::CountStep(int64_t step_us, int64_t collective_us, int64_t sampling_us) {
  const uint64_t collective_before = state_->collective_us.load(std::memory_order_relaxed);
  const uint64_t own_us = static_cast<uint64_t>(step_us) -
                          std::min(static_cast<uint64_t>(step_us),
                                   static_cast<uint64_t>(collective_us) - collective_before);
  // Only this thread raises it; a heartbeat that takes it in between has told a little less.
  if (own_us > state_->slowest_step_us.load(std::memory_order_relaxed))
    state_->slowest_step_us.store(own_us, std::memory_order_relaxed);
  state_->step_us.fetch_add(static_cast<uint64_t>(step_us), std::memory_order_relaxed);
  state_->collective_us.store(static_cast<uint64_t>(collective_us), std::memory_order_relaxed);
  state_->sampling_us.store(static_cast<uint64_t>(sampling_us), std::memory_order_relaxed);
  state_->steps_done.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace octet::worker
