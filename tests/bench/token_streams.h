// Clients of a running service and what it takes of the processor, for programs that measure it.
#pragma once

#include <grpcpp/grpcpp.h>
#include <time.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "octet/v1/generation.grpc.pb.h"

namespace octet {

inline constexpr int kPromptTokens = 16;

inline double CpuSeconds(pid_t pid) {
  clockid_t clock;
  OCTET_CHECK_EQ(clock_getcpuclockid(pid, &clock), 0);
  timespec time{};
  OCTET_CHECK_EQ(clock_gettime(clock, &time), 0);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Processor time so far, of all threads and by their names, which a number may end.
struct Cost {
  double process = 0;
  std::map<std::string, double> threads;

  static Cost Of(pid_t pid) {
    Cost cost;
    cost.process = CpuSeconds(pid);
    const std::filesystem::path tasks = "/proc/" + std::to_string(pid) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      std::string name;
      std::getline(std::ifstream(task.path() / "comm"), name);
      double nanoseconds = 0;
      std::ifstream(task.path() / "schedstat") >> nanoseconds;
      cost.threads[name] += nanoseconds * 1e-9;
    }
    return cost;
  }
};

inline v1::GenerateRequest TokensRequest(int index, int64_t answer_tokens, float temperature) {
  v1::GenerateRequest request;
  for (int i = 0; i < kPromptTokens; ++i) {
    request.mutable_token_ids()->add_ids((index * 31 + i * (index + 1)) % 256);
  }
  request.mutable_sampling_params()->set_temperature(temperature);
  request.mutable_sampling_params()->set_max_tokens(answer_tokens);
  request.mutable_sampling_params()->set_ignore_eos(true);
  return request;
}

// Ends the program where a call has: what was measured is not what was asked for.
inline void CheckEnd(int index, int64_t tokens, const grpc::Status& status) {
  if (status.ok() && tokens > 0) return;
  if (status.error_code() == grpc::StatusCode::CANCELLED) return;
  std::fprintf(stderr, "stream %d ended with %lld tokens: %d %s\n", index,
               static_cast<long long>(tokens), static_cast<int>(status.error_code()),
               status.error_message().c_str());
  std::_Exit(1);
}

inline std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

inline std::vector<std::shared_ptr<grpc::Channel>> Connections(const std::string& address,
                                                               int count) {
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < count; ++i) channels.push_back(Connect(address));
  return channels;
}

// One Generate call, read by a thread of its own. A greedy one unless told otherwise.
class Stream {
 public:
  Stream(std::shared_ptr<grpc::Channel> channel, int index, int64_t answer_tokens,
         float temperature = 0)
      : thread_([this, stub = v1::Generation::NewStub(channel),
                 request = TokensRequest(index, answer_tokens, temperature),
                 index] { Read(stub.get(), request, index); }) {}
  ~Stream() {
    context_.TryCancel();
    thread_.join();
  }
  int64_t tokens() const { return tokens_; }
  int64_t messages() const { return messages_; }

 private:
  void Read(v1::Generation::Stub* stub, const v1::GenerateRequest& request, int index) {
    context_.set_wait_for_ready(true);  // of many connections at once one may fail at first
    const auto reader = stub->Generate(&context_, request);
    for (v1::GenerateResponse response; reader->Read(&response);) {
      if (!response.has_chunk()) continue;
      ++messages_;
      tokens_ += response.chunk().token_ids_size();
    }
    CheckEnd(index, tokens_, reader->Finish());
  }

  grpc::ClientContext context_;
  std::atomic<int64_t> tokens_{0};
  std::atomic<int64_t> messages_{0};
  std::thread thread_;
};

}  // namespace octet
