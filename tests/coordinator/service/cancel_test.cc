// Requests that end before their time: cancelled by name, past their deadline, left by their
// client.
#include <gtest/gtest.h>

#include "tests/coordinator/service/serving.h"
#include "tests/coordinator/service/tcp_proxy.h"

namespace octet::coordinator {
namespace {

std::chrono::system_clock::time_point InMilliseconds(int ms) {
  return std::chrono::system_clock::now() + std::chrono::milliseconds(ms);
}

using Reader = std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>;

void ExpectAccepted(const Reader& reader) {
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_TRUE(response.has_accepted());
}

TEST_F(Serving, CancelEndsEveryLiveRequestOfThatName) {
  rank_options_.model.set_slots(1);  // one runs, one waits
  StartReady();
  ranks_[0]->Pause();
  v1::GenerateRequest request = Prompt("mine", 100);
  request.set_request_id("mine");
  v1::GenerateRequest other = Prompt("other", 3);
  other.set_request_id("other");
  grpc::ClientContext contexts[3];
  const Reader first = stub().Generate(&contexts[0], request);
  const Reader second = stub().Generate(&contexts[1], request);
  const Reader third = stub().Generate(&contexts[2], other);
  for (const Reader* reader : {&first, &second, &third}) ExpectAccepted(*reader);

  const auto cancel = [this](const std::string& name, int32_t* requests) {
    grpc::ClientContext context;
    v1::CancelRequest message;
    message.set_request_id(name);
    v1::CancelResponse response;
    const grpc::Status status = stub().Cancel(&context, message, &response);
    *requests = response.requests();
    return status;
  };
  int32_t requests = 0;
  EXPECT_TRUE(cancel("mine", &requests).ok());
  EXPECT_EQ(requests, 2);
  for (const Reader* reader : {&first, &second}) {
    const Answered answer = ReadAll(reader->get());
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::CANCELLED);
    EXPECT_EQ(answer.status.error_message(), "cancelled by the client");
    EXPECT_FALSE(answer.is_complete);
  }
  const grpc::Status none = cancel("mine", &requests);
  EXPECT_EQ(none.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(none.error_message(), "no live request has the request_id `mine`");
  ranks_[0]->Resume();
  EXPECT_TRUE(ReadAll(third.get()).status.ok());
  EXPECT_TRUE(WaitIdle());
}

TEST_F(Serving, ADeadlineInTheQueueFreesThePlaceAtOnce) {
  options_.max_waiting = 1;
  rank_options_.model.set_slots(1);
  StartReady();
  ranks_[0]->Pause();
  grpc::ClientContext running;
  const Reader first = stub().Generate(&running, Prompt("runs", 5));
  ExpectAccepted(first);
  grpc::ClientContext waiting;
  waiting.set_deadline(InMilliseconds(100));
  EXPECT_EQ(Ask(Prompt("waits", 5), &waiting).status.error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  // The one that runs still stands still, and the place in the queue is free again. The server may
  // see the deadline a moment after the client.
  Answered third;
  for (int i = 0; i < 1000; ++i) {
    grpc::ClientContext context;
    context.set_deadline(InMilliseconds(100));
    third = Ask(Prompt("waits too", 5), &context);
    if (third.status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED) break;
  }
  EXPECT_EQ(third.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(third.accepted.prompt_tokens(), 9);
  ranks_[0]->Resume();
  EXPECT_TRUE(ReadAll(first.get()).status.ok());
}

TEST_F(Serving, ADeadlineInPrefillFreesEverything) {
  StartReady();
  ranks_[0]->Pause();
  grpc::ClientContext context;
  context.set_deadline(InMilliseconds(100));
  // Ten steps of prefill, of which none comes back.
  const Answered answer = Ask(Prompt(std::string(320, 'p'), 100), &context);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(answer.accepted.prompt_tokens(), 320);
  EXPECT_TRUE(answer.tokens.empty());
  EXPECT_TRUE(WaitIdle());
  EXPECT_LE(ranks_[0]->plans(), 2);
  ranks_[0]->Resume();
  EXPECT_TRUE(Ask(Prompt("next", 3)).status.ok());
  EXPECT_TRUE(WaitAllFree());
}

TEST_F(Serving, ADeadlineInDecodeFreesEverything) {
  rank_options_.step_delay = std::chrono::milliseconds(5);
  StartReady();
  grpc::ClientContext context;
  context.set_deadline(InMilliseconds(200));
  const Answered answer = Ask(Prompt("p", 500), &context);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_FALSE(answer.tokens.empty());
  EXPECT_TRUE(WaitIdle());
  EXPECT_TRUE(Ask(Prompt("next", 3)).status.ok());
  EXPECT_TRUE(WaitAllFree());
}

TEST_F(Serving, ADeadlineThatHasPassedAlreadyLeavesNothing) {
  StartReady();
  grpc::ClientContext context;
  context.set_deadline(InMilliseconds(-100));
  EXPECT_EQ(Ask(Prompt("late", 3), &context).status.error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Ask(Prompt("next", 3)).status.ok());
  EXPECT_TRUE(WaitIdle());
}

TEST_F(Serving, ACutConnectionEndsItsRequests) {
  options_.max_waiting = 1;
  rank_options_.model.set_slots(1);
  StartReady();
  ranks_[0]->Pause();
  TcpProxy proxy(service_->grpc_port());
  const auto cut_stub = v1::Generation::NewStub(grpc::CreateChannel(
      "127.0.0.1:" + std::to_string(proxy.port()), grpc::InsecureChannelCredentials()));
  grpc::ClientContext contexts[2];
  const Reader running = cut_stub->Generate(&contexts[0], Prompt("runs", 400));
  ExpectAccepted(running);
  const Reader waiting = cut_stub->Generate(&contexts[1], Prompt("waits", 400));
  ExpectAccepted(waiting);
  proxy.Cut();
  EXPECT_EQ(ReadAll(running.get()).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReadAll(waiting.get()).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(WaitIdle());
  ranks_[0]->Resume();
  EXPECT_TRUE(Ask(Prompt("next", 3)).status.ok());
}

}  // namespace
}  // namespace octet::coordinator
