// A whole service in this process, with ranks that are threads, and a client of it.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/service.h"
#include "octet/v1/generation.grpc.pb.h"
#include "tests/coordinator/support/fake_rank.h"
#include "tests/coordinator/support/tiny_model.h"

namespace octet::coordinator {

inline constexpr double kWaitSeconds = 20;  // of every wait; a good run needs a fraction of it

// What a client got of one Generate call.
struct Answered {
  grpc::Status status;
  v1::GenerateResponse::Accepted accepted;
  v1::GenerateResponse::Complete complete;
  bool is_complete = false;
  std::vector<int32_t> tokens;
  std::string text;
  std::vector<int32_t> prompt_tokens;
  std::string prompt_text;
  int64_t chunks = 0;
};

class Serving : public ::testing::Test {
 protected:
  Serving();
  ~Serving() override;

  // Starts the service, not the ranks.
  void Start();
  // Starts `ranks` fakes and waits until the service is ready.
  void StartReady(int ranks = 1);
  std::unique_ptr<fakes::FakeRank> MakeRank(int rank, int ranks);
  // The ranks die, if they have not, and others dial in until the next group has taken them.
  void ReplaceRanks(int ranks);
  bool WaitServing(bool serving);          // until health says so
  bool WaitFailure();                      // until there is one
  bool WaitIdle();                         // until no request waits or runs
  bool WaitAllFree();                      // and no plan in flight names a block
  std::string LastLoss();                  // as GetStats tells it
  int Health(const std::string& service);  // a ServingStatus, or -code of the error

  v1::Generation::Stub& stub() { return *stub_; }
  // Greedy unless the request says otherwise.
  static v1::GenerateRequest Prompt(const std::string& text, int64_t max_tokens);
  Answered Ask(const v1::GenerateRequest& request, grpc::ClientContext* context = nullptr);
  static Answered ReadAll(grpc::ClientReader<v1::GenerateResponse>* reader);

  bool WaitCounters(const std::function<bool(const schedule::SchedulerCounters&)>& as_wished);

  ServeOptions options_;
  fakes::FakeRankOptions rank_options_;
  fakes::TinyModel model_;
  std::unique_ptr<Service> service_;
  std::vector<std::unique_ptr<fakes::FakeRank>> ranks_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Generation::Stub> stub_;
};

}  // namespace octet::coordinator
