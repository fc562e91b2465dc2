// A sink that keeps what it is told, for tests.
#pragma once

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
  void OnAccepted(const AcceptedAnswer& a) override {
    const std::lock_guard lock(mutex_);
    OCTET_CHECK(!is_accepted && !has_ended);
    accepted = a;
    is_accepted = true;
  }
  void OnChunk(const AnswerChunk& chunk) override {
    const std::lock_guard lock(mutex_);
    OCTET_CHECK(is_accepted && !has_ended);
    tokens.push_back(chunk.token);
    text += chunk.text;
    changed_.notify_all();
  }
  void OnEnd(const AnswerEnd& e) override {
    const std::lock_guard lock(mutex_);
    OCTET_CHECK(!has_ended);
    end = e;
    text += e.text;
    has_ended = true;
    changed_.notify_all();
  }
  bool WaitEnd() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [this] { return has_ended; });
  }

  AcceptedAnswer accepted;
  bool is_accepted = false;
  std::vector<int32_t> tokens;
  std::string text;
  AnswerEnd end;
  bool has_ended = false;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace octet::intake
