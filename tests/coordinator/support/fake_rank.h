// A rank without a model: the worker's end of WorkerLink over a FakeEngine, in a thread of this
// process or as the whole of fake_worker.cc. What a real rank can do wrong it does on request.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "octet/v1/worker_link.pb.h"

namespace octet::fakes {

// 257 tokens: the bytes, and 256, which ends an answer.
v1::ModelInfo TinyModelInfo();

// Of a rank whose every step takes 2 ms, 0.5 ms of it in collectives.
v1::Heartbeat FakeHeartbeat(uint64_t steps);

struct FakeRankOptions {
  std::string address;
  uint64_t epoch = 0;
  std::string secret;
  int32_t rank = 0;
  int32_t ranks = 1;
  std::string build_id = "build-a";
  std::string isa = "avx2";
  std::string config_digest = "digest-a";
  v1::ModelInfo model = TinyModelInfo();
  std::string failure;       // not empty: this is said in place of ready
  bool own_process = false;  // killing it by its number kills nobody else
  bool heartbeats = true;
  bool paused = false;  // from the beginning
  std::chrono::milliseconds step_delay{0};
  std::chrono::milliseconds heartbeat_interval{20};
};

class FakeRank {
 public:
  explicit FakeRank(FakeRankOptions options);
  ~FakeRank();  // Die()

  // Steps wait from now on; plans still arrive.
  void Pause();
  void Resume();
  // The connection ends without a word, as at the death of a process.
  void Die();
  // Returns when the coordinator has ended the connection; its status code and message.
  struct End {
    int code = 0;
    std::string message;
    bool told_to_stop = false;
  };
  End Wait();
  bool WelcomeWithin(double seconds_max);  // false at once when it was turned away
  // Whether that many plans have arrived.
  bool PlansWithin(int64_t plans, double seconds_max);
  int64_t plans() const;
  void SendResult(const v1::StepResult& result);  // whatever it says

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace octet::fakes
