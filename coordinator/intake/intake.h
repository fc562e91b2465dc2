// The door: checks requests, gives them a place in a bounded queue, turns text into tokens and
// hands them on to the step loop. Any thread may submit; tokenizing runs on one thread of its own,
// so that a long text delays neither transport nor steps. Knows nothing of the wire and of the
// workers.
//
// The door is closed until the first Open and again while the workers are away or the service ends;
// what was accepted before stays accepted.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/status.h"
#include "coordinator/intake/answer.h"
#include "coordinator/intake/request.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace octet::intake {

class Intake {
 public:
  // `submit` is called from the tokenizing thread and must not block. `tokenizer` outlives this.
  Intake(const tokenizer::Tokenizer* tokenizer, IntakeLimits limits,
         std::function<void(Submission)> submit);
  // Ends the tokenizing thread. REQUIRES: every accepted request has ended, or `submit` still takes
  // the ones that are left.
  ~Intake();
  Intake(const Intake&) = delete;
  Intake& operator=(const Intake&) = delete;

  void Open(ModelLimits model);
  void Close(Status why);  // the status of every Submit from now on

  // The number of the request, or why it is not taken: then `sink` is never touched. Otherwise the
  // sink gets its end, whatever happens.
  Result<uint64_t> Submit(Request request, AnswerSink* sink);

  const tokenizer::Tokenizer& tokenizer() const { return *tokenizer_; }
  const IntakeLimits& limits() const { return limits_; }
  int64_t live_requests() const { return places_taken_; }

 private:
  struct Pending {
    uint64_t id;
    Request request;
    AnswerSink* sink;
    Place place;
    std::shared_ptr<const ModelLimits> model;
  };

  Result<std::shared_ptr<const ModelLimits>> OpenedModel();
  Result<Place> TakePlace(int64_t slots);
  void RunTokenizing();
  void Tokenize(Pending pending);

  const tokenizer::Tokenizer* tokenizer_;
  const IntakeLimits limits_;
  const std::function<void(Submission)> submit_;
  std::atomic<int64_t> places_taken_{0};

  std::mutex mutex_;
  std::condition_variable work_;
  Status closed_;  // ok: open
  // Shared: a request is checked, and waits, with the limits it came in under.
  std::shared_ptr<const ModelLimits> model_;
  uint64_t ids_given_ = 0;
  std::deque<Pending> pending_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace octet::intake
