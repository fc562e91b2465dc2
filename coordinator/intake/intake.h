// The door: checks requests, gives them places in a bounded queue, turns text and messages into
// tokens and hands them on to the step loop. Any thread may submit; tokenizing runs on two threads
// of its own, one for short prompts and one for long ones, so that a long text delays neither
// transport nor steps nor anyone but other long texts. Knows nothing of the wire, of
// templates and of the workers.
//
// The door is closed until the first Open and again while the workers are away or the service ends;
// what was accepted before stays accepted.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "coordinator/intake/answer.h"
#include "coordinator/intake/chat.h"
#include "coordinator/intake/request.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace octet::intake {

// Longer ones are tokenized on a thread of their own. The worst text of this size takes a few
// milliseconds, the worst one of the limit hundreds.
inline constexpr int64_t kShortPromptBytesMax = int64_t{16} << 10;

class Intake {
 public:
  // `submit` is called from the tokenizing threads and must not block. `tokenizer` outlives this.
  // Without `chat`, prompts of messages are refused: the model has no chat template.
  Intake(const tokenizer::Tokenizer* tokenizer, IntakeLimits limits,
         std::function<void(Submission)> submit, ChatRenderer chat = {});
  // Ends the tokenizing threads. REQUIRES: every accepted request has ended, or `submit` still
  // takes the ones that are left.
  ~Intake();
  Intake(const Intake&) = delete;
  Intake& operator=(const Intake&) = delete;

  void Open(ModelLimits model);
  void Close(Status why);  // the status of every Submit from now on

  // The number of the request, or why it is not taken: then `sink` is never touched. Otherwise the
  // sink gets its end, whatever happens.
  Result<uint64_t> Submit(Request request, AnswerSink* sink);
  // Ends the request at once if it still waits for its tokens; otherwise nothing happens here, and
  // whoever has it must be told. REQUIRES: its sink's cancel_requested is set.
  void Withdraw(uint64_t id);
  // Sets cancel_requested of every live request that has this request_id, and tells their numbers.
  std::vector<uint64_t> RequestCancel(const std::string& request_id);

  // The tokens of a prompt that CheckPromptSize finds ok, by the same ways as those of a request.
  // Any thread; takes as long as it takes.
  Result<std::vector<int32_t>> Encode(const Prompt& prompt, bool add_special_tokens,
                                      bool parse_special_tokens) const;

  const tokenizer::Tokenizer& tokenizer() const { return *tokenizer_; }
  const IntakeLimits& limits() const { return limits_; }
  int64_t live_sequences() const { return places_taken_; }
  // Requests that were cancelled before they had their tokens, of which nobody else knows.
  int64_t cancelled() const { return cancelled_; }

 private:
  struct Pending {
    uint64_t id;
    Request request;
    AnswerSink* sink;
    Place place;
    std::shared_ptr<const ModelLimits> model;
  };
  // Prompts that are tokenized one after another.
  struct Lane {
    std::list<Pending> pending;
    std::condition_variable work;
    std::thread thread;
  };
  struct Live {
    uint64_t id;
    AnswerSink* sink;
  };

  Result<std::shared_ptr<const ModelLimits>> OpenedModel();
  Result<Place> TakePlaces(int64_t count, int64_t slots);
  // From now on until the place is left, the request can be found by its request_id.
  void MakeFindable(const std::string& request_id, Live live, Place* place);
  void Forget(const std::string& request_id, uint64_t id);
  void RunTokenizing(Lane* lane);
  void Tokenize(Pending pending);
  Result<std::vector<schedule::NewSequence>> MakeSequencesOf(Pending* pending) const;

  const tokenizer::Tokenizer* tokenizer_;
  const IntakeLimits limits_;
  const std::function<void(Submission)> submit_;
  const ChatRenderer chat_;
  std::atomic<int64_t> places_taken_{0};
  std::atomic<int64_t> cancelled_{0};

  // Held alone, or inside mutex_. A sink in here is alive: its end comes after its Forget.
  std::mutex live_mutex_;
  std::unordered_multimap<std::string, Live> live_;  // by request_id

  std::mutex mutex_;
  Status closed_;  // ok: open
  // Shared: a request is checked, and waits, with the limits it came in under.
  std::shared_ptr<const ModelLimits> model_;
  uint64_t ids_given_ = 0;
  bool ending_ = false;
  Lane short_;
  Lane long_;
};

}  // namespace octet::intake
