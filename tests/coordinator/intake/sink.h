// A sink that keeps what it is told, for tests, and checks that it is told in order.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "base/check.h"
#include "coordinator/intake/answer.h"

namespace octet::intake {

class KeepingSink : public AnswerSink {
 public:
  struct KeptSample {
    std::vector<int32_t> tokens;
    std::string text;
    std::vector<schedule::TokenLogprobs> logprobs;
    std::optional<SampleEnd> end;
  };
  struct KeptEnd : SampleEnd {  // the end, and of the first sample what is said of it
    Status status;
  };

  void OnAccepted(const AcceptedAnswer& a) override {
    const std::lock_guard lock(mutex_);
    OCTET_CHECK(!is_accepted && !has_ended);
    accepted = a;
    is_accepted = true;
  }
  void OnPrompt(const PromptPiece& piece) override {
    const std::lock_guard lock(mutex_);
    OCTET_CHECK(is_accepted && !has_ended && !prompt_is_whole);
    OCTET_CHECK_EQ(piece.first_position, static_cast<int64_t>(prompt_tokens.size()));
    prompt_tokens.insert(prompt_tokens.end(), piece.tokens.begin(), piece.tokens.end());
    prompt_logprobs.insert(prompt_logprobs.end(), piece.logprobs.begin(), piece.logprobs.end());
    prompt_text += piece.text;
    prompt_is_whole = piece.is_last;
  }
  void OnChunk(const AnswerChunk& chunk) override {
    const std::lock_guard lock(mutex_);
    OCTET_CHECK(is_accepted && !has_ended);
    KeptSample& sample = Sample(chunk.sample);
    OCTET_CHECK(!sample.end.has_value());
    OCTET_CHECK_EQ(chunk.position, static_cast<int64_t>(sample.tokens.size()));
    sample.tokens.push_back(chunk.token);
    sample.text += chunk.text;
    if (chunk.logprobs.has_value()) sample.logprobs.push_back(*chunk.logprobs);
    if (chunk.sample == 0) {
      tokens = sample.tokens;
      text = sample.text;
    }
    changed_.notify_all();
  }
  void OnSampleEnd(const SampleEnd& e) override {
    const std::lock_guard lock(mutex_);
    OCTET_CHECK(is_accepted && !has_ended && !Sample(e.sample).end.has_value());
    Sample(e.sample).end = e;
    if (e.sample == 0) static_cast<SampleEnd&>(end) = e;
  }
  void OnEnd(const Status& status) override {
    const std::lock_guard lock(mutex_);
    OCTET_CHECK(!has_ended);
    end.status = status;
    has_ended = true;
    changed_.notify_all();
  }
  bool WaitEnd() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [this] { return has_ended.load(); });
  }

  AcceptedAnswer accepted;
  bool is_accepted = false;
  std::vector<int32_t> prompt_tokens;
  std::string prompt_text;
  std::vector<schedule::TokenLogprobs> prompt_logprobs;
  bool prompt_is_whole = false;
  std::vector<KeptSample> samples;
  std::vector<int32_t> tokens;  // of the first sample
  std::string text;
  KeptEnd end;
  std::atomic<bool> has_ended{false};  // read while the answer grows

 private:
  KeptSample& Sample(int32_t index) {
    if (samples.size() <= static_cast<size_t>(index))
      samples.resize(static_cast<size_t>(index) + 1);
    return samples[static_cast<size_t>(index)];
  }

  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace octet::intake
