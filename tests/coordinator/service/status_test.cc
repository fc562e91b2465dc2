// What a service says of itself: health, the model, the tokenizer, reflection.
#include <gtest/gtest.h>

#include <thread>

#include "tests/coordinator/service/serving.h"

namespace octet::coordinator {
namespace {

constexpr int kServing = 1;
constexpr int kNotServing = 2;

TEST_F(Serving, HealthFollowsTheWorkers) {
  Start();
  EXPECT_EQ(Health(""), kNotServing);
  EXPECT_EQ(Health("octet.v1.Generation"), kNotServing);
  EXPECT_EQ(Health("octet.v1.Other"), -static_cast<int>(grpc::StatusCode::NOT_FOUND));
  const Answered early = Ask(Prompt("early", 3));
  EXPECT_EQ(early.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(early.status.error_message(), "the workers are starting");

  ranks_.push_back(MakeRank(0, 1));
  ASSERT_TRUE(service_->WaitReady(kWaitSeconds));
  EXPECT_EQ(Health(""), kServing);
  EXPECT_EQ(Health("octet.v1.Generation"), kServing);

  ranks_[0]->Die();
  EXPECT_TRUE(WaitServing(false));
  EXPECT_EQ(Health(""), kNotServing);
}

TEST_F(Serving, TheModelIsToldOnceItIsKnown) {
  Start();
  v1::GetModelResponse model;
  {
    grpc::ClientContext context;
    EXPECT_EQ(stub().GetModel(&context, {}, &model).error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  ranks_.push_back(MakeRank(0, 1));
  ASSERT_TRUE(service_->WaitReady(kWaitSeconds));
  grpc::ClientContext context;
  ASSERT_TRUE(stub().GetModel(&context, {}, &model).ok());
  EXPECT_EQ(model.name(), "tiny");
  EXPECT_EQ(model.architecture(), "FakeForCausalLM");
  EXPECT_EQ(model.vocab_size(), 257);
  EXPECT_EQ(model.max_model_len(), 512);
  EXPECT_EQ(model.eos_token_ids(0), 256);
  EXPECT_FALSE(model.has_bos_token_id());
  EXPECT_EQ(model.tensor_parallel_size(), 1);
  EXPECT_EQ(model.weights(), "int4");
  EXPECT_EQ(model.kv_cache(), "int8");
  EXPECT_EQ(model.kv_blocks(), 64);
  EXPECT_EQ(model.max_num_seqs(), 4);
  EXPECT_EQ(model.memory(0).kv_bytes(), 2000);
  EXPECT_EQ(model.build_id(), "build-a");
}

TEST_F(Serving, StatsAreToldAlsoWhileThereAreNoWorkers) {
  Start();
  const auto stats = [this] {
    grpc::ClientContext context;
    v1::GetStatsResponse response;
    EXPECT_TRUE(stub().GetStats(&context, {}, &response).ok());
    return response;
  };
  v1::GetStatsResponse now = stats();
  EXPECT_FALSE(now.serving());
  EXPECT_GT(now.uptime_seconds(), 0);
  EXPECT_EQ(now.kv_blocks(), 0);
  EXPECT_EQ(now.ranks_size(), 0);

  ranks_.push_back(MakeRank(0, 1));
  ASSERT_TRUE(service_->WaitReady(kWaitSeconds));
  EXPECT_TRUE(Ask(Prompt("count me", 20)).status.ok());
  for (int i = 0; i < 1000; ++i) {  // the steps are told by a heartbeat to come
    now = stats();
    if (now.ranks_size() == 1 && now.ranks(0).steps() >= 20 && now.ranks(0).step_ms() > 0) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(now.serving());
  EXPECT_EQ(now.kv_blocks(), 64);
  EXPECT_EQ(now.requests_running(), 0);
  EXPECT_EQ(now.groups_lost(), 0);
  ASSERT_EQ(now.ranks_size(), 1);
  EXPECT_GE(now.ranks(0).steps(), 20);
  EXPECT_NEAR(now.ranks(0).step_ms(), 2, 1e-6);
  EXPECT_NEAR(now.ranks(0).collective_ms(), 0.5, 1e-6);
  EXPECT_NEAR(now.ranks(0).sampling_ms(), 0.1, 1e-6);
  EXPECT_GE(now.ranks(0).heartbeat_age_seconds(), 0);

  ranks_[0]->Die();
  ASSERT_TRUE(WaitServing(false));
  now = stats();
  EXPECT_FALSE(now.serving());
  EXPECT_EQ(now.ranks_size(), 0);
  EXPECT_EQ(now.groups_lost(), 1);
  EXPECT_NE(now.last_loss().find("rank 0"), std::string::npos) << now.last_loss();
}

TEST_F(Serving, TextBecomesTokensAndBack) {
  Start();
  v1::TokenizeRequest request;
  request.set_text("a\xc3\xa9<|end|>");
  v1::TokenizeResponse response;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(stub().Tokenize(&context, request, &response).ok());
  }
  EXPECT_EQ(std::vector<int32_t>(response.token_ids().begin(), response.token_ids().end()),
            (std::vector<int32_t>{'a', 0xc3, 0xa9, 256}));
  v1::DetokenizeRequest back;
  *back.mutable_token_ids() = response.token_ids();
  back.set_skip_special_tokens(true);
  v1::DetokenizeResponse text;
  grpc::ClientContext context;
  ASSERT_TRUE(stub().Detokenize(&context, back, &text).ok());
  EXPECT_EQ(text.text(), "a\xc3\xa9");
}

TEST_F(Serving, ATextOverTheLimitIsNotTokenized) {
  options_.max_prompt_bytes = 100;
  Start();
  v1::TokenizeRequest request;
  request.set_text(std::string(101, 'x'));
  v1::TokenizeResponse response;
  grpc::ClientContext context;
  const grpc::Status status = stub().Tokenize(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "text has 101 bytes; the limit is 100");
}

TEST_F(Serving, AChatIsTokenizedOnlyWithATemplate) {
  Start();
  v1::TokenizeRequest request;
  request.mutable_chat();
  v1::TokenizeResponse response;
  {
    grpc::ClientContext context;
    EXPECT_EQ(stub().Tokenize(&context, request, &response).error_message(),
              "chat.messages has 0 entries; it must have at least 1");
  }
  request.mutable_chat()->add_messages()->set_role("user");
  grpc::ClientContext context;
  EXPECT_EQ(stub().Tokenize(&context, request, &response).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(Serving, APortInUseIsSaidWithItsAddress) {
  Start();
  ServeOptions options = options_;
  options.grpc_address = "127.0.0.1:" + std::to_string(service_->grpc_port());
  Service second(options);
  const auto failure = second.Start();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->exit_code, 1);
  EXPECT_EQ(failure->cause.message(), "gRPC can not listen on " + options.grpc_address +
                                          ": the address is in use by another process");
}

TEST_F(Serving, ABadAddressIsSaidWithWhatIsExpected) {
  for (const std::string address :
       {"127.0.0.1:99999", "127.0.0.1", "127.0.0.1:http1", "::1:5", "127.0.0.1:-1"}) {
    ServeOptions options = options_;
    options.grpc_address = address;
    Service service(options);
    const auto failure = service.Start();
    ASSERT_TRUE(failure.has_value()) << address;
    EXPECT_EQ(failure->exit_code, 2);
    EXPECT_NE(failure->cause.message().find("gRPC can not listen on " + address), std::string::npos)
        << failure->cause.message();
    EXPECT_NE(failure->cause.message().find("127.0.0.1:50051"), std::string::npos);
  }
}

TEST_F(Serving, WrongOptionsAreAnExitCodeOfTwo) {
  const auto failure_of = [this](auto change) {
    ServeOptions options = options_;
    change(&options);
    const auto failure = Service(options).Start();
    return failure.has_value() ? std::to_string(failure->exit_code) + " " + failure->cause.message()
                               : "none";
  };
  EXPECT_EQ(failure_of([](ServeOptions* o) { o->model_dir = "/no/such/model"; }),
            "2 the model '/no/such/model' is not a folder");
  EXPECT_EQ(failure_of([](ServeOptions* o) { o->ranks = 33; }),
            "2 --tp is 33; it must be between 1 and 32");
  EXPECT_EQ(failure_of([](ServeOptions* o) {
              o->launcher = "mpirun";
              o->worker_binary = "/no/octet-worker";
            }),
            "2 the worker '/no/octet-worker' is not a program; it is built beside the other "
            "binaries");
}

}  // namespace
}  // namespace octet::coordinator
