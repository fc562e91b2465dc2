#include "tests/coordinator/service/serving.h"

#include <thread>

#include "coordinator/rpc/runtime.h"
#include "tests/coordinator/service/raw_client.h"

namespace octet::coordinator {
namespace {

constexpr const char* kSecret = "a secret of the test";

// grpc.health.v1 has no messages here; the two it needs are one field each, written by hand.
std::string HealthRequest(const std::string& service) {
  std::string bytes;
  if (!service.empty()) {
    bytes.push_back(0x0a);  // field 1, a string
    bytes.push_back(static_cast<char>(service.size()));
    bytes += service;
  }
  return bytes;
}

int HealthStatus(const std::string& response) {
  return response.size() == 2 ? response[1] : 0;  // field 1, an enum
}

}  // namespace

Serving::Serving() {
  rpc::PrepareRuntime();
  setenv("OCTET_LINK_SECRET", kSecret, 1);
  options_.model_dir = model_.path();
  options_.served_model_name = "tiny";
  options_.grpc_address = "127.0.0.1:0";
  options_.launcher = "external";
  options_.self_test_seconds = 0;  // so that plans are of requests alone
  rank_options_.secret = kSecret;
}

Serving::~Serving() {
  // The server says goodbye to connections that are idle and waits for their answer, which nobody
  // reads in this process.
  stub_.reset();
  channel_.reset();
  if (service_ != nullptr) service_->Stop(0);
  ranks_.clear();
}

void Serving::Start() {
  service_ = std::make_unique<Service>(options_);
  const auto failure = service_->Start();
  ASSERT_FALSE(failure.has_value()) << failure->cause.message();
  channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(service_->grpc_port()),
                                 grpc::InsecureChannelCredentials());
  stub_ = v1::Generation::NewStub(channel_);
}

std::unique_ptr<fakes::FakeRank> Serving::MakeRank(int rank, int ranks) {
  fakes::FakeRankOptions options = rank_options_;
  options.address = service_->link_address();
  options.rank = rank;
  options.ranks = ranks;
  return std::make_unique<fakes::FakeRank>(options);
}

void Serving::StartReady(int ranks) {
  options_.ranks = ranks;
  ASSERT_NO_FATAL_FAILURE(Start());
  for (int rank = 0; rank < ranks; ++rank) ranks_.push_back(MakeRank(rank, ranks));
  ASSERT_TRUE(service_->WaitReady(kWaitSeconds));
}

void Serving::ReplaceRanks(int ranks) {
  ranks_.clear();
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(kWaitSeconds);
  while (static_cast<int>(ranks_.size()) < ranks) {
    ASSERT_LT(std::chrono::steady_clock::now(), until);
    // A rank that comes before the lost group is cleared away is turned away, and is to come again.
    auto rank = MakeRank(static_cast<int>(ranks_.size()), ranks);
    if (rank->WelcomeWithin(kWaitSeconds)) ranks_.push_back(std::move(rank));
  }
}

int Serving::Health(const std::string& service) {
  std::string response;
  const grpc::Status status =
      CallWithBytes(channel_, "/grpc.health.v1.Health/Check", HealthRequest(service), &response);
  return status.ok() ? HealthStatus(response) : -static_cast<int>(status.error_code());
}

std::string Serving::LastLoss() {
  grpc::ClientContext context;
  v1::GetStatsResponse stats;
  EXPECT_TRUE(stub_->GetStats(&context, {}, &stats).ok());
  return stats.last_loss();
}

bool Serving::WaitServing(bool serving) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(kWaitSeconds);
  while (std::chrono::steady_clock::now() < until) {
    if (Health("octet.v1.Generation") == (serving ? 1 : 2)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

bool Serving::WaitFailure() {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(kWaitSeconds);
  while (std::chrono::steady_clock::now() < until) {
    if (service_->failure().has_value()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

bool Serving::WaitCounters(
    const std::function<bool(const schedule::SchedulerCounters&)>& as_wished) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(kWaitSeconds);
  while (std::chrono::steady_clock::now() < until) {
    if (as_wished(service_->step_loop().stats().scheduler)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

bool Serving::WaitIdle() {
  return WaitCounters([](const auto& now) { return now.running == 0 && now.waiting == 0; });
}

bool Serving::WaitAllFree() {
  return WaitIdle() && WaitCounters([this](const auto& now) {
           return now.free_blocks == rank_options_.model.kv_blocks();
         });
}

v1::GenerateRequest Serving::Prompt(const std::string& text, int64_t max_tokens) {
  v1::GenerateRequest request;
  request.set_text(text);
  request.mutable_sampling_params()->set_temperature(0);
  request.mutable_sampling_params()->set_max_tokens(max_tokens);
  return request;
}

Answered Serving::ReadAll(grpc::ClientReader<v1::GenerateResponse>* reader) {
  Answered out;
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    if (response.has_accepted()) out.accepted = response.accepted();
    if (response.has_prompt()) {
      const auto& prompt = response.prompt();
      EXPECT_EQ(out.chunks, 0);
      EXPECT_EQ(prompt.first_position(), static_cast<int64_t>(out.prompt_tokens.size()));
      out.prompt_tokens.insert(out.prompt_tokens.end(), prompt.token_ids().begin(),
                               prompt.token_ids().end());
      out.prompt_text += prompt.text();
    }
    if (response.has_chunk()) {
      const auto& chunk = response.chunk();
      EXPECT_EQ(chunk.first_position(), static_cast<int64_t>(out.tokens.size()));
      out.tokens.insert(out.tokens.end(), chunk.token_ids().begin(), chunk.token_ids().end());
      out.text += chunk.text();
      ++out.chunks;
    }
    if (response.has_complete()) {
      out.complete = response.complete();
      out.is_complete = true;
    }
  }
  out.status = reader->Finish();
  return out;
}

Answered Serving::Ask(const v1::GenerateRequest& request, grpc::ClientContext* context) {
  grpc::ClientContext own;
  if (context == nullptr) {
    context = &own;
    own.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  }
  const auto reader = stub_->Generate(context, request);
  return ReadAll(reader.get());
}

}  // namespace octet::coordinator
