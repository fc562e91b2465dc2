#include "tests/coordinator/support/fake_rank.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/host_identity.h"
#include "octet/v1/worker_link.grpc.pb.h"
#include "tests/coordinator/support/fake_engine.h"

namespace octet::fakes {

v1::ModelInfo TinyModelInfo() {
  v1::ModelInfo model;
  model.set_architecture("FakeForCausalLM");
  model.set_vocab(257);
  model.set_context(512);
  model.add_eos_ids(256);
  model.set_bos_id(-1);
  model.set_kv_blocks(64);
  model.set_block_tokens(16);
  model.set_slots(4);
  model.set_step_rows_max(32);
  model.set_weights("int4");
  model.set_kv("int8");
  model.set_activations("int8");
  v1::RankMemory* memory = model.add_memory();
  memory->set_rank(0);
  memory->set_weight_bytes(1000);
  memory->set_kv_bytes(2000);
  return model;
}

v1::Heartbeat FakeHeartbeat(uint64_t steps) {
  v1::Heartbeat heartbeat;
  heartbeat.set_steps_done(steps);
  heartbeat.set_step_us(steps * 2000);
  heartbeat.set_sampling_us(steps * 100);
  heartbeat.set_collective_us(steps * 500);
  heartbeat.set_progress(1 + steps);
  return heartbeat;
}

struct FakeRank::State {
  explicit State(FakeRankOptions o)
      : options(std::move(o)), engine(options.model.block_tokens()), paused(options.paused) {}

  void Run();
  v1::RankMessage SecondWord() const;
  void RunSteps();
  void Beat();
  void Write(const v1::RankMessage& message) {
    const std::lock_guard lock(write_mutex);
    stream->Write(message);
  }

  const FakeRankOptions options;
  FakeEngine engine;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<v1::RankMessage, v1::CoordinatorMessage>> stream;
  std::mutex write_mutex;

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<v1::StepPlan> queue;
  int64_t plans = 0;
  uint64_t steps = 0;
  bool welcome = false;
  bool paused;
  bool over = false;
  bool ended = false;
  End end;
  std::thread thread;
};

// What a rank says when it has loaded its weights, or can not.
v1::RankMessage FakeRank::State::SecondWord() const {
  v1::RankMessage message;
  if (options.failure.empty()) {
    message.mutable_ready()->set_config_digest(options.config_digest);
    if (options.rank == 0) *message.mutable_ready()->mutable_model() = options.model;
  } else {
    message.mutable_failure()->set_code(9);
    message.mutable_failure()->set_message(options.failure);
  }
  return message;
}

void FakeRank::State::Run() {
  auto stub = v1::WorkerLink::NewStub(
      grpc::CreateChannel(options.address, grpc::InsecureChannelCredentials()));
  stream = stub->Connect(&context);
  v1::RankMessage first;
  v1::Hello* hello = first.mutable_hello();
  hello->set_rank(options.rank);
  hello->set_ranks(options.ranks);
  hello->set_pid(getpid());
  hello->set_host(options.own_process ? HostIdentity() : "");
  hello->set_epoch(options.epoch);
  hello->set_secret(options.secret);
  hello->set_build_id(options.build_id);
  hello->set_isa(options.isa);
  Write(first);
  std::thread steps([this] { RunSteps(); });
  std::thread beat([this] { Beat(); });
  bool told_to_stop = false;
  v1::CoordinatorMessage message;
  while (!told_to_stop && stream->Read(&message)) {
    if (message.has_welcome()) Write(SecondWord());
    const std::lock_guard lock(mutex);
    if (message.has_welcome()) welcome = true;
    if (message.has_shutdown()) told_to_stop = true;
    if (message.has_plan()) {
      queue.push_back(message.plan());
      ++plans;
    }
    changed.notify_all();
  }
  {
    const std::lock_guard lock(mutex);
    over = true;
  }
  changed.notify_all();
  steps.join();
  beat.join();
  stream->WritesDone();
  const grpc::Status status = stream->Finish();
  const std::lock_guard lock(mutex);
  end = {static_cast<int>(status.error_code()), status.error_message(), told_to_stop};
  ended = true;
  changed.notify_all();
}

void FakeRank::State::RunSteps() {
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [this] { return over || (!queue.empty() && !paused); });
    if (over) return;
    const v1::StepPlan plan = std::move(queue.front());
    queue.pop_front();
    if (changed.wait_for(lock, options.step_delay, [this] { return over; })) return;
    lock.unlock();
    v1::RankMessage message;
    *message.mutable_result() = engine.Apply(plan);
    Write(message);
    lock.lock();
    ++steps;
  }
}

void FakeRank::State::Beat() {
  std::unique_lock lock(mutex);
  while (!changed.wait_for(lock, options.heartbeat_interval, [this] { return over; })) {
    if (!options.heartbeats) continue;
    v1::RankMessage message;
    *message.mutable_heartbeat() = FakeHeartbeat(steps);
    lock.unlock();
    Write(message);
    lock.lock();
  }
}

FakeRank::FakeRank(FakeRankOptions options) : state_(std::make_unique<State>(std::move(options))) {
  state_->thread = std::thread([s = state_.get()] { s->Run(); });
}

FakeRank::~FakeRank() {
  Die();
  state_->thread.join();
}

void FakeRank::Pause() {
  const std::lock_guard lock(state_->mutex);
  state_->paused = true;
}

void FakeRank::Resume() {
  const std::lock_guard lock(state_->mutex);
  state_->paused = false;
  state_->changed.notify_all();
}

void FakeRank::Die() { state_->context.TryCancel(); }

FakeRank::End FakeRank::Wait() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return state_->ended; });
  return state_->end;
}

bool FakeRank::WelcomeWithin(double seconds_max) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait_for(lock, std::chrono::duration<double>(seconds_max),
                           [this] { return state_->welcome || state_->ended; });
  return state_->welcome;
}

bool FakeRank::PlansWithin(int64_t plans, double seconds_max) {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, std::chrono::duration<double>(seconds_max),
                                  [&] { return state_->plans >= plans; });
}

int64_t FakeRank::plans() const {
  const std::lock_guard lock(state_->mutex);
  return state_->plans;
}

void FakeRank::SendResult(const v1::StepResult& result) {
  v1::RankMessage message;
  *message.mutable_result() = result;
  state_->Write(message);
}

}  // namespace octet::fakes
