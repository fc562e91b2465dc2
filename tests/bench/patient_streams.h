// Clients as a service has them on other machines, as far as one machine allows: what they do of
// themselves takes as little as can be from the cores that are measured. One thread of this process
// (nice 19, SCHED_BATCH: a wake of it interrupts nobody) reads all calls, and between readings
// sleeps for `rest`: nobody waits at a socket then, so the service's writes wake no client. What
// the service does for them, writes and reads of every connection, is done in full; only the window
// updates of clients come together, once a reading.
#pragma once

#include <grpcpp/grpcpp.h>
#include <sched.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "octet/v1/generation.grpc.pb.h"
#include "tests/bench/token_streams.h"

namespace octet {

class PatientStreams {
 public:
  using Rest = std::chrono::milliseconds;

  PatientStreams(std::vector<std::shared_ptr<grpc::Channel>> channels, int streams,
                 int64_t answer_tokens, float temperature)
      : channels_(std::move(channels)), calls_(static_cast<size_t>(streams)) {
    thread_ = std::thread([=, this] { Run(answer_tokens, temperature); });
  }
  ~PatientStreams() {
    ending_ = true;
    thread_.join();
  }
  void SetRest(Rest rest) { rest_ms_ = rest.count(); }
  // How many streams have had a token.
  int started() const { return started_; }

 private:
  struct Call {
    int index = 0;
    std::unique_ptr<v1::Generation::Stub> stub;
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientAsyncReader<v1::GenerateResponse>> reader;
    v1::GenerateResponse response;
    grpc::Status status;
    int64_t tokens = 0;
    bool finishing = false;
  };

  void Run(int64_t answer_tokens, float temperature) {
    // Threads that gRPC starts for this one inherit both.
    const sched_param none{};
    OCTET_CHECK_EQ(sched_setscheduler(0, SCHED_BATCH, &none), 0);
    OCTET_CHECK_EQ(setpriority(PRIO_PROCESS, 0, 19), 0);
    for (size_t i = 0; i < calls_.size(); ++i) {
      Call& call = calls_[i];
      call.index = static_cast<int>(i);
      call.stub = v1::Generation::NewStub(channels_[i % channels_.size()]);
      call.context.set_wait_for_ready(true);
      call.reader = call.stub->AsyncGenerate(
          &call.context, TokensRequest(call.index, answer_tokens, temperature), &queue_, &call);
    }
    while (!ending_) {
      ReadWhatCame();
      std::this_thread::sleep_for(Rest(rest_ms_));
    }
    for (Call& call : calls_) call.context.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    for (bool ok = false; queue_.Next(&tag, &ok);) On(static_cast<Call*>(tag), ok);
  }

  void ReadWhatCame() {
    void* tag = nullptr;
    bool ok = false;
    while (queue_.AsyncNext(&tag, &ok, gpr_time_0(GPR_CLOCK_MONOTONIC)) ==
           grpc::CompletionQueue::GOT_EVENT)
      On(static_cast<Call*>(tag), ok);
  }

  // The call has begun, has read a message (ok), or has ended.
  void On(Call* call, bool ok) {
    if (call->finishing) return CheckEnd(call->index, call->tokens, call->status);
    if (!ok) {
      call->finishing = true;
      if (!ending_) return call->reader->Finish(&call->status, call);
      return;
    }
    if (call->response.has_chunk()) {
      if (call->tokens == 0) ++started_;
      call->tokens += call->response.chunk().token_ids_size();
      call->response.Clear();
    }
    if (!ending_) call->reader->Read(&call->response, call);
  }

  const std::vector<std::shared_ptr<grpc::Channel>> channels_;
  grpc::CompletionQueue queue_;
  std::vector<Call> calls_;
  std::atomic<bool> ending_{false};
  std::atomic<int64_t> rest_ms_{5};
  std::atomic<int> started_{0};
  std::thread thread_;
};

}  // namespace octet
