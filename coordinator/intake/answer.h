// The answer to one request while it grows: tokens in, text out. The step loop feeds it from its
// one thread; whoever asked receives it through an AnswerSink.
//
// A sink is told: accepted (at most once, first), chunks, then exactly one end, after which it is
// never touched again. It lives until then: a client that goes away sets `cancel_requested`, asks
// for the cancel, and waits for the end like everyone. Calls must not block.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "coordinator/schedule/scheduler.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace octet::intake {

struct AcceptedAnswer {
  std::string request_id;
  uint64_t seed = 0;
  int64_t prompt_tokens = 0;
  int64_t max_tokens = 0;
};

struct AnswerChunk {
  int32_t token = 0;
  int64_t position = 0;  // among the generated tokens
  std::string text;      // whole characters; may be empty
};

struct AnswerEnd {
  // Not ok: the answer was cut short, and nothing below means anything.
  Status status;
  bool stopped = false;       // by an end or stop token; else by length
  int32_t stop_token_id = 0;  // when stopped
  std::string text;           // what an unfinished character at the end became
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
};

class AnswerSink {
 public:
  virtual void OnAccepted(const AcceptedAnswer& accepted) = 0;
  virtual void OnChunk(const AnswerChunk& chunk) = 0;
  virtual void OnEnd(const AnswerEnd& end) = 0;

  std::atomic<bool> cancel_requested{false};

 protected:
  ~AnswerSink() = default;
};

// A place among the live requests, held from acceptance to the end.
class Place {
 public:
  explicit Place(std::atomic<int64_t>* taken) : taken_(taken) {}
  Place(Place&& other) noexcept : taken_(std::exchange(other.taken_, nullptr)) {}
  Place& operator=(Place&&) = delete;
  ~Place() { Leave(); }
  void Leave() {
    if (taken_ != nullptr) --*std::exchange(taken_, nullptr);
  }

 private:
  std::atomic<int64_t>* taken_;
};

class Answer {
 public:
  Answer(AnswerSink* sink, Place place, const tokenizer::Tokenizer* tokenizer,
         bool skip_special_tokens, AcceptedAnswer accepted)
      : sink_(sink),
        place_(std::move(place)),
        detokenizer_(tokenizer, skip_special_tokens),
        accepted_(std::move(accepted)) {}

  bool cancel_requested() const { return sink_->cancel_requested; }
  const std::string& request_id() const { return accepted_.request_id; }

  void Accept();
  // What a step brought to one of the request's samples. True: that sample is over, because the
  // event says so or because a stop string ended it; the scheduler need not go on with it. When the
  // last sample is over the answer has ended.
  bool Take(int32_t sample, const schedule::SequenceEvent& event);
  // The answer ends without being complete. REQUIRES: it has not ended.
  void Fail(const Status& status);

 private:
  void End(const AnswerEnd& end);

  AnswerSink* sink_;
  Place place_;
  tokenizer::IncrementalDetokenizer detokenizer_;
  AcceptedAnswer accepted_;
  int64_t completion_tokens_ = 0;
};

// What Intake hands to the step loop.
struct Submission {
  uint64_t id = 0;  // of the request
  // One for each sample, in order; their ids are id, id + 1, ... and belong to nobody else.
  std::vector<schedule::NewSequence> sequences;
  std::unique_ptr<Answer> answer;
};

}  // namespace octet::intake
