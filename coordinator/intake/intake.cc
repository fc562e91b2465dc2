#include "coordinator/intake/intake.h"

#include <sys/random.h>

#include <utility>

#include "base/check.h"

namespace octet::intake {
namespace {

uint64_t RandomSeed() {
  uint64_t seed = 0;
  OCTET_CHECK_EQ(getrandom(&seed, sizeof(seed), 0), static_cast<ssize_t>(sizeof(seed)));
  return seed;
}

}  // namespace

Intake::Intake(const tokenizer::Tokenizer* tokenizer, IntakeLimits limits,
               std::function<void(Submission)> submit)
    : tokenizer_(tokenizer),
      limits_(limits),
      submit_(std::move(submit)),
      closed_(Unavailable("the workers are starting")),
      thread_([this] { RunTokenizing(); }) {}

Intake::~Intake() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  work_.notify_one();
  thread_.join();
}

void Intake::Open(ModelLimits model) {
  const std::lock_guard lock(mutex_);
  model_ = std::make_shared<const ModelLimits>(std::move(model));
  closed_ = {};
}

void Intake::Close(Status why) {
  OCTET_CHECK(!why.ok());
  const std::lock_guard lock(mutex_);
  closed_ = std::move(why);
}

Result<Place> Intake::TakePlace(int64_t slots) {
  Place place(&places_taken_);
  const int64_t places_max = limits_.waiting_max + slots;
  if (++places_taken_ <= places_max) return place;
  return ResourceExhausted("the queue is full: " + std::to_string(places_max) +
                           " requests wait or run, which is the limit; try again later");
}

Result<std::shared_ptr<const ModelLimits>> Intake::OpenedModel() {
  const std::lock_guard lock(mutex_);
  if (!closed_.ok()) return closed_;
  return model_;
}

Result<uint64_t> Intake::Submit(Request request, AnswerSink* sink) {
  OCTET_ASSIGN_OR_RETURN(const std::shared_ptr<const ModelLimits> model, OpenedModel());
  OCTET_RETURN_IF_ERROR(CheckRequest(request, limits_, *model));
  OCTET_ASSIGN_OR_RETURN(Place place, TakePlace(model->slots));
  const std::lock_guard lock(mutex_);
  if (!closed_.ok()) return closed_;  // it closed meanwhile
  const uint64_t id = ++ids_given_;
  if (request.request_id.empty()) request.request_id = "request-" + std::to_string(id);
  pending_.push_back({id, std::move(request), sink, std::move(place), model});
  work_.notify_one();
  return id;
}

void Intake::RunTokenizing() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return ending_ || !pending_.empty(); });
    if (pending_.empty()) return;
    Pending pending = std::move(pending_.front());
    pending_.pop_front();
    lock.unlock();
    Tokenize(std::move(pending));
    lock.lock();
  }
}

void Intake::Tokenize(Pending pending) {
  AnswerSink* sink = pending.sink;
  Request& request = pending.request;
  Result<schedule::NewSequence> sequence = [&]() -> Result<schedule::NewSequence> {
    if (sink->cancel_requested) return Status(StatusCode::kCancelled, "cancelled by the client");
    std::vector<int32_t> tokens;
    if (auto* text = std::get_if<std::string>(&request.prompt)) {
      OCTET_ASSIGN_OR_RETURN(tokens, tokenizer_->Encode(*text, request.add_special_tokens,
                                                        request.parse_special_tokens));
    } else {
      tokens = std::move(std::get<std::vector<int32_t>>(request.prompt));
    }
    return MakeSequence(request, pending.id, std::move(tokens), RandomSeed(), *pending.model);
  }();

  AcceptedAnswer accepted;
  accepted.request_id = request.request_id;
  if (sequence.ok()) {
    accepted.seed = sequence->sampling.seed;
    accepted.prompt_tokens = static_cast<int64_t>(sequence->prompt.size());
    accepted.max_tokens = sequence->max_tokens;
  }
  auto answer = std::make_unique<Answer>(sink, std::move(pending.place), tokenizer_,
                                         request.skip_special_tokens, std::move(accepted));
  if (!sequence.ok()) return answer->Fail(sequence.status());
  Submission submission;
  submission.id = pending.id;
  submission.sequences.push_back(std::move(*sequence));
  submission.answer = std::move(answer);
  submit_(std::move(submission));
}

}  // namespace octet::intake
