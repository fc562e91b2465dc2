// Clients that go away, read slowly, or come too late (rows F18, F19 and F20).
#include "tests/coordinator/faults/bad_clients.h"

namespace octet::coordinator {
namespace {

// Two plans are in flight when a cancel comes, and one more may be on its way out.
constexpr int64_t kPlansAfterCancelMax = 3;

TEST_F(BadClients, F18ACancelFreesWithinAStep) {
  rank_options_.step_delay = std::chrono::milliseconds(10);
  ASSERT_NO_FATAL_FAILURE(StartReady());
  struct Moment {
    const char* name;
    std::function<v1::GenerateRequest()> request;
    int64_t tokens;
  };
  // A prompt of 400 tokens takes 13 steps of 32 rows.
  const Moment moments[] = {
      {"mid-prefill", [] { return Named("left", std::string(400, 'p'), 50); }, 0},
      {"mid-stream", [] { return Named("left", "short", 400); }, 5}};
  for (const Moment& moment : moments) {
    grpc::ClientContext context;
    const Reader reader = stub().Generate(&context, moment.request());
    ExpectAccepted(reader);
    const int64_t before = ranks_[0]->plans();
    if (moment.tokens > 0)
      ReadTokens(reader, moment.tokens);
    else
      ASSERT_TRUE(ranks_[0]->PlansWithin(before + 2, kWaitSeconds));
    EXPECT_TRUE(Cancel("left").ok());
    const int64_t at_cancel = ranks_[0]->plans();
    EXPECT_EQ(EndOf(reader).error_code(), grpc::StatusCode::CANCELLED);
    EXPECT_TRUE(WaitAllFree());
    const int64_t plans = ranks_[0]->plans() - at_cancel;
    EXPECT_LE(plans, kPlansAfterCancelMax) << moment.name;
    testing::FaultSeen("F18", std::string("cancelled ") + moment.name,
                       "CANCELLED; all blocks free after " + std::to_string(plans) +
                           " more plans (two are always in flight)");
  }
  ExpectUnharmed();
}

TEST_F(BadClients, F18AClientThatVanishes) {
  ASSERT_NO_FATAL_FAILURE(StartBeside());
  const auto vanish = [this](const char* when, const v1::GenerateRequest& request, int64_t tokens) {
    TcpProxy proxy(service_->grpc_port());
    const auto stub = StubOver(proxy);
    grpc::ClientContext context;
    const Reader reader = stub->Generate(&context, request);
    ExpectAccepted(reader);
    if (tokens > 0) ReadTokens(reader, tokens);
    proxy.Cut();
    EXPECT_EQ(EndOf(reader).error_code(), grpc::StatusCode::UNAVAILABLE);
    testing::FaultSeen("F18", std::string("the connection is cut ") + when,
                       "the request ends, the others go on");
  };
  vanish("mid-prefill", Prompt(std::string(400, 'p'), 50), 0);
  vanish("mid-stream", Prompt("short", 400), 3);
  ExpectUnharmed();
}

TEST_F(BadClients, F18AClientThatVanishesBeforePrefill) {
  rank_options_.model.set_slots(1);
  ASSERT_NO_FATAL_FAILURE(StartReady());
  ranks_[0]->Pause();
  grpc::ClientContext running;
  const Reader first = stub().Generate(&running, Prompt("runs", 20));
  ExpectAccepted(first);
  {
    TcpProxy proxy(service_->grpc_port());
    const auto stub = StubOver(proxy);
    grpc::ClientContext context;
    const Reader reader = stub->Generate(&context, Prompt("waits for the one slot", 20));
    ExpectAccepted(reader);
    proxy.Cut();
    ReadAll(reader.get());
  }
  // The one that runs stands still; the one that waited is gone all the same.
  EXPECT_TRUE(WaitCounters([](const auto& now) { return now.waiting == 0; }));
  EXPECT_TRUE(WaitRunning(1));
  testing::FaultSeen("F18", "the connection is cut before prefill",
                     "the queue is empty while the one that runs stands still");
  ranks_[0]->Resume();
  ExpectGood(ReadAll(first.get()), "runs", 20);
  ExpectUnharmed();
}

TEST_F(BadClients, F18ACancelAfterTheLastToken) {
  ASSERT_NO_FATAL_FAILURE(StartBeside());
  grpc::ClientContext context;
  const Reader reader = stub().Generate(&context, Named("done", "short", 5));
  const Answered answer = ReadAll(reader.get());
  ExpectGood(answer, "short", 5);
  const grpc::Status status = Cancel("done");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  context.TryCancel();
  testing::FaultSeen("F18", "cancelled after the last token", Seen(status));
  ExpectUnharmed();
}

// What the client does not take waits in the service: the answer, which has a length. Nothing else
// waits for it.
TEST_F(BadClients, F19AClientThatReadsOneByteASecond) {
  rank_options_.step_delay = std::chrono::milliseconds(0);
  ASSERT_NO_FATAL_FAILURE(StartReady());
  TcpProxy proxy(service_->grpc_port());
  const auto slow_stub = StubOver(proxy);
  constexpr int kSlow = 3;
  grpc::ClientContext contexts[kSlow];
  Reader slow[kSlow];
  for (int i = 0; i < kSlow; ++i) {
    v1::GenerateRequest request = Prompt("slow " + std::to_string(i), 450);
    request.mutable_sampling_params()->set_logprobs(20);
    slow[i] = slow_stub->Generate(&contexts[i], request);
    ExpectAccepted(slow[i]);
  }
  proxy.Trickle();
  const int64_t before = StatusKib("VmRSS");
  for (int i = 0; i < 5; ++i) ExpectGood(Ask(Prompt("beside", 100)), "beside", 100);
  // The slow ones' sequences are over and their blocks free, while most of their answers waits.
  EXPECT_TRUE(WaitAllFree());
  const int64_t grown_kib = StatusKib("VmRSS") - before;
  EXPECT_LT(grown_kib, 64 * 1024);
  for (grpc::ClientContext& context : contexts) context.TryCancel();
  proxy.Cut();
  for (const Reader& reader : slow) EXPECT_FALSE(ReadAll(reader.get()).is_complete);
  testing::FaultSeen("F19", "3 clients read one byte a second",
                     "their sequences ended and their blocks are free; held: 3 answers of 450 "
                     "tokens (" +
                         std::to_string(grown_kib) +
                         " KiB more of the process); others unaffected");
  ExpectUnharmed();
}

TEST_F(BadClients, F20Deadlines) {
  rank_options_.model.set_slots(1);
  ASSERT_NO_FATAL_FAILURE(StartReady());
  const auto ask = [this](const std::string& text, int ms) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(ms));
    const Answered answer = Ask(Prompt(text, 400), &context);
    EXPECT_EQ(CodeName(answer.status.error_code()), "DEADLINE_EXCEEDED");
    return answer;
  };
  const int64_t prompt_tokens = service_->step_loop().stats().scheduler.prompt_tokens;
  testing::FaultSeen("F20", "a deadline that has passed", Seen(ask("never", -100).status));

  ranks_[0]->Pause();
  testing::FaultSeen("F20", "a deadline in prefill", Seen(ask("prefill", 150).status));
  ranks_[0]->Resume();
  EXPECT_TRUE(WaitAllFree());
  ranks_[0]->Pause();
  grpc::ClientContext running;
  const Reader first = stub().Generate(&running, Prompt("runs", 20));
  ExpectAccepted(first);
  const Answered queued = ask("in the queue", 150);
  EXPECT_EQ(queued.accepted.prompt_tokens(), 12);
  testing::FaultSeen("F20", "a deadline in the queue", Seen(queued.status));
  EXPECT_TRUE(WaitCounters([](const auto& now) { return now.waiting == 0; }));
  ranks_[0]->Resume();
  ExpectGood(ReadAll(first.get()), "runs", 20);
  // The first never started, nor did the one that waited: at most two prompts were computed.
  EXPECT_LE(service_->step_loop().stats().scheduler.prompt_tokens - prompt_tokens, 7 + 4);

  const Answered decoding = ask("decode", 150);
  EXPECT_FALSE(decoding.tokens.empty());
  testing::FaultSeen("F20", "a deadline in decode", Seen(decoding.status) + " after some tokens");
  ExpectUnharmed();
}

// A request_id is a name, not a key: two requests may have one, each is answered, a Cancel ends
// both.
TEST_F(BadClients, F20ARequestIdTwice) {
  ASSERT_NO_FATAL_FAILURE(StartBeside());
  grpc::ClientContext contexts[2];
  const Reader first = stub().Generate(&contexts[0], Named("twice", "one", 30));
  const Reader second = stub().Generate(&contexts[1], Named("twice", "two", 30));
  ExpectGood(ReadAll(first.get()), "one", 30);
  ExpectGood(ReadAll(second.get()), "two", 30);
  testing::FaultSeen("F20", "two requests with one request_id", "OK: each gets its own answer");
  ExpectUnharmed();
}

}  // namespace
}  // namespace octet::coordinator
