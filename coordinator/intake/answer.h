// The answers to one request while they grow: what the steps bring in, chunks of text out to the
// AnswerSink of whoever asked. The step loop feeds it from its one thread. Knows nothing of the
// wire and of plans.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "coordinator/intake/answer_sink.h"
#include "coordinator/intake/prompt_teller.h"
#include "coordinator/intake/sample.h"
#include "coordinator/intake/stop_filter.h"
#include "coordinator/schedule/scheduler.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace octet::intake {

// Places among the live sequences, one for each sample of a request, held from acceptance to the
// end of each.
class Place {
 public:
  explicit Place(std::atomic<int64_t>* taken, int64_t count = 1) : taken_(taken), count_(count) {}
  Place(Place&& other) noexcept
      : taken_(other.taken_),
        count_(std::exchange(other.count_, 0)),
        on_left_(std::exchange(other.on_left_, nullptr)) {}
  Place& operator=(Place&&) = delete;
  ~Place() { Leave(); }
  // Called once, when all are left.
  void OnLeft(std::function<void()> on_left) { on_left_ = std::move(on_left); }
  void LeaveOne() { LeaveSome(1); }
  void Leave() {
    LeaveSome(count_);
    if (on_left_) std::exchange(on_left_, nullptr)();
  }

 private:
  void LeaveSome(int64_t count) {
    if (count_ == 0) return;
    *taken_ -= count;
    count_ -= count;
  }

  std::atomic<int64_t>* taken_;
  int64_t count_;
  std::function<void()> on_left_;
};

struct AnswerOptions {
  int32_t samples = 1;
  std::vector<std::string> stop;  // none is empty
  bool include_stop_text = false;
  int64_t min_tokens = 0;
  bool echo = false;
  bool prompt_logprobs = false;
  std::vector<int32_t> prompt;  // needed with echo or prompt_logprobs
  bool follows_text = true;     // of the prompt; else the answer is the beginning of a text
};

class Answer {
 public:
  // `tokenizer` outlives it.
  Answer(AnswerSink* sink, Place place, const tokenizer::Tokenizer* tokenizer,
         bool skip_special_tokens, AcceptedAnswer accepted, AnswerOptions options = {});
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  bool cancel_requested() const { return sink_->cancel_requested; }
  const std::string& request_id() const { return accepted_.request_id; }

  void Accept();
  // What a step brought to one of the request's samples. True: that sample is over, because the
  // event says so, because a stop string ended it, or because another sample failed and the request
  // with it; the scheduler need not go on with it. When the last sample is over the answer has
  // ended. REQUIRES: the sample is not over.
  bool Take(int32_t sample, const schedule::SequenceEvent& event);
  // The answer ends without being complete. REQUIRES: it has not ended.
  void Fail(const Status& status);

 private:
  void End(const Status& status);

  AnswerSink* const sink_;
  Place place_;
  const AcceptedAnswer accepted_;
  const StopStrings stops_;
  const SampleOptions sample_options_;
  std::vector<Sample> samples_;
  int32_t samples_over_ = 0;
  std::optional<PromptTeller> prompt_;  // with echo or prompt_logprobs
  Status failed_;  // not ok: a sample failed, and the others end at their next event
};

// What Intake hands to the step loop.
struct Submission {
  uint64_t id = 0;  // of the request
  // One for each sample, in order; their ids are id, id + 1, ... and belong to nobody else.
  std::vector<schedule::NewSequence> sequences;
  std::unique_ptr<Answer> answer;
};

}  // namespace octet::intake
