// 256 streams at once on two MPI ranks whose cache can not hold them all: nothing fails, nothing
// leaks, and nobody's tokens are changed by the crowd or by preemption.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "octet/v1/generation.grpc.pb.h"
#include "tests/support/served.h"

namespace octet {
namespace {

constexpr int kStreams = 256;
constexpr auto kAnswerMax = std::chrono::seconds(240);

struct Answered {
  grpc::Status status;
  std::vector<int32_t> tokens;
  v1::GenerateResponse::Complete complete;
  bool operator==(const Answered& other) const { return tokens == other.tokens; }
};

// Mixed lengths: prompts of 2 to 300 tokens, answers of 4 to 160; a third are greedy, many share
// the beginning of their prompt.
v1::GenerateRequest RequestOf(int index) {
  v1::GenerateRequest request;
  const int prompt_tokens = 2 + index * 97 % 299;
  for (int i = 0; i < prompt_tokens; ++i) {
    const int shared = index % 4;
    const int own = i < 130 ? shared : index;
    request.mutable_token_ids()->add_ids(10 + (own * 131 + i * 17) % 1000);
  }
  v1::SamplingParams* sampling = request.mutable_sampling_params();
  sampling->set_max_tokens(4 + index * 53 % 157);
  sampling->set_temperature(index % 3 == 0 ? 0.0f : 0.9f);
  if (index % 5 == 0) sampling->set_top_p(0.95f);
  if (index % 7 == 0) sampling->set_repetition_penalty(1.1f);
  sampling->set_seed(static_cast<uint64_t>(index));
  sampling->set_ignore_eos(index % 2 == 0);
  return request;
}

Answered Ask(v1::Generation::Stub* stub, const v1::GenerateRequest& request) {
  Answered answered;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAnswerMax);
  const auto reader = stub->Generate(&context, request);
  for (v1::GenerateResponse response; reader->Read(&response);) {
    if (response.has_complete()) answered.complete = response.complete();
    if (!response.has_chunk()) continue;
    const auto& ids = response.chunk().token_ids();
    EXPECT_EQ(response.chunk().first_position(), static_cast<int64_t>(answered.tokens.size()));
    answered.tokens.insert(answered.tokens.end(), ids.begin(), ids.end());
  }
  answered.status = reader->Finish();
  return answered;
}

v1::GetStatsResponse Stats(v1::Generation::Stub* stub) {
  grpc::ClientContext context;
  v1::GetStatsResponse stats;
  EXPECT_TRUE(stub->GetStats(&context, {}, &stats).ok());
  return stats;
}

TEST(Scale, Of256StreamsNothingFailsAndNothingLeaks) {
  // 120 blocks of 27,648 bytes and 64 tokens: a ninth of what all streams would hold at their full
  // length.
  testing::Served service(2, {"--max-num-seqs", "256", "--max-num-batched-tokens", "512",
                              "--kv-memory", "3317760", "--max-waiting", "300"});
  ASSERT_TRUE(service.ready()) << service.process().err();
  const auto stub = v1::Generation::NewStub(
      grpc::CreateChannel(service.address(), grpc::InsecureChannelCredentials()));

  std::vector<Answered> answers(kStreams);
  const auto run_all = [&](std::vector<Answered>* into) {
    std::vector<std::thread> clients;
    for (int i = 0; i < kStreams; ++i) {
      clients.emplace_back([&, i] { (*into)[i] = Ask(stub.get(), RequestOf(i)); });
    }
    for (std::thread& client : clients) client.join();
  };
  run_all(&answers);
  int64_t tokens = 0;
  for (int i = 0; i < kStreams; ++i) {
    ASSERT_TRUE(answers[i].status.ok()) << i << ": " << answers[i].status.error_message();
    EXPECT_EQ(answers[i].complete.usage().completion_tokens(),
              static_cast<int64_t>(answers[i].tokens.size()));
    tokens += static_cast<int64_t>(answers[i].tokens.size());
  }

  const v1::GetStatsResponse stats = Stats(stub.get());
  EXPECT_EQ(stats.kv_blocks(), 120);
  EXPECT_GT(stats.preemptions(), 0);
  EXPECT_EQ(stats.generated_tokens(), tokens);
  EXPECT_EQ(stats.requests_completed(), kStreams);
  EXPECT_EQ(stats.requests_failed() + stats.requests_cancelled(), 0);
  EXPECT_EQ(stats.requests_waiting() + stats.requests_running(), 0);
  EXPECT_EQ(stats.kv_blocks_used(), 0);
  EXPECT_EQ(stats.ranks_size(), 2);
  EXPECT_GT(stats.prefix_hit_tokens(), 0);
  EXPECT_EQ(stats.groups_lost(), 0);

  // The same tokens with nobody else there.
  for (int i = 0; i < kStreams; i += 17) {
    EXPECT_EQ(Ask(stub.get(), RequestOf(i)).tokens, answers[i].tokens) << "stream " << i;
  }
  RecordProperty("preemptions", std::to_string(stats.preemptions()));
  RecordProperty("prefix_hit_tokens", std::to_string(stats.prefix_hit_tokens()));
  service.process().Signal(SIGTERM);
  EXPECT_EQ(service.process().Wait(testing::kStopSeconds), 0) << service.process().err();
}

}  // namespace
}  // namespace octet
