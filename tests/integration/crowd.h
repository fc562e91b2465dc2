// Thirty-two streams at once against a service, and what they were told in all: the witness of
// tests that hurt the service meanwhile. Long enough to be there for several losses; half greedy,
// half sampled, some with a penalty, all with log-probabilities.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "octet/v1/generation.grpc.pb.h"

namespace octet::testing {

inline constexpr int kCrowdStreams = 32;
#ifdef __SANITIZE_THREAD__  // a step takes some twenty times as long
inline constexpr int64_t kCrowdTokens = 150;
inline constexpr auto kCrowdAnswerMax = std::chrono::seconds(900);
#else
inline constexpr int64_t kCrowdTokens = 760;
inline constexpr auto kCrowdAnswerMax = std::chrono::seconds(240);
#endif

struct CrowdOptions {
  int64_t max_tokens = kCrowdTokens;
  int prompt_tokens_step = 7;  // stream i has 3 + i * this
};

struct CrowdAnswer {
  grpc::Status status;
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
};

inline bool SameBits(const CrowdAnswer& a, const CrowdAnswer& b) {
  return a.tokens == b.tokens && a.logprobs.size() == b.logprobs.size() &&
         std::memcmp(a.logprobs.data(), b.logprobs.data(), a.logprobs.size() * sizeof(float)) == 0;
}

inline v1::GenerateRequest CrowdRequest(int index, const CrowdOptions& options) {
  v1::GenerateRequest request;
  for (int i = 0; i < 3 + index * options.prompt_tokens_step; ++i) {
    request.mutable_token_ids()->add_ids(20 + (index * 131 + i * 37) % 2000);
  }
  v1::SamplingParams* sampling = request.mutable_sampling_params();
  sampling->set_max_tokens(options.max_tokens);
  sampling->set_ignore_eos(true);
  sampling->set_temperature(index % 2 == 0 ? 0.0f : 0.9f);
  if (index % 4 == 1) sampling->set_repetition_penalty(1.1f);
  sampling->set_seed(static_cast<uint64_t>(index));
  sampling->set_logprobs(2);
  return request;
}

// The streams, one thread each, from construction until all have ended.
class Crowd {
 public:
  explicit Crowd(const std::string& address, const CrowdOptions& options = {})
      : stub_(v1::Generation::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))),
        answers_(kCrowdStreams) {
    for (int i = 0; i < kCrowdStreams; ++i) {
      clients_.emplace_back([this, i, request = CrowdRequest(i, options)] { Ask(i, request); });
    }
  }
  ~Crowd() { Join(); }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  int64_t tokens_told() const { return tokens_told_; }  // of all streams, so far
  int streams_begun() const { return streams_begun_; }  // that were told a token
  const std::vector<CrowdAnswer>& Join() {
    for (std::thread& client : clients_) {
      if (client.joinable()) client.join();
    }
    return answers_;
  }

 private:
  void Ask(int index, const v1::GenerateRequest& request) {
    CrowdAnswer* const answer = &answers_[static_cast<size_t>(index)];
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCrowdAnswerMax);
    const auto reader = stub_->Generate(&context, request);
    for (v1::GenerateResponse response; reader->Read(&response);) {
      if (!response.has_chunk()) continue;
      EXPECT_EQ(response.chunk().first_position(), static_cast<int64_t>(answer->tokens.size()));
      if (answer->tokens.empty()) ++streams_begun_;
      for (const int32_t token : response.chunk().token_ids()) answer->tokens.push_back(token);
      tokens_told_ += response.chunk().token_ids_size();
      for (const v1::TokenLogprobs& told : response.chunk().logprobs()) {
        answer->logprobs.push_back(told.logprob());
        for (const float top : told.top_logprobs()) answer->logprobs.push_back(top);
      }
    }
    answer->status = reader->Finish();
  }

  std::unique_ptr<v1::Generation::Stub> stub_;
  std::vector<CrowdAnswer> answers_;
  std::atomic<int64_t> tokens_told_{0};
  std::atomic<int> streams_begun_{0};
  std::vector<std::thread> clients_;
};

// Every answer is whole and the same, bit for bit.
inline void ExpectSame(const std::vector<CrowdAnswer>& answers,
                       const std::vector<CrowdAnswer>& undisturbed) {
  ASSERT_EQ(answers.size(), undisturbed.size());
  for (size_t i = 0; i < answers.size(); ++i) {
    ASSERT_TRUE(answers[i].status.ok()) << i << ": " << answers[i].status.error_message();
    EXPECT_FALSE(answers[i].tokens.empty());
    EXPECT_TRUE(SameBits(answers[i], undisturbed[i])) << "stream " << i;
  }
}

}  // namespace octet::testing
