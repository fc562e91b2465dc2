#include "coordinator/intake/intake.h"

#include <sys/random.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace octet::intake {
namespace {

uint64_t RandomSeed() {
  uint64_t seed = 0;
  OCTET_CHECK_EQ(getrandom(&seed, sizeof(seed), 0), static_cast<ssize_t>(sizeof(seed)));
  return seed;
}

// What a client sent goes beyond a limit of its own: sent again it would again, where
// RESOURCE_EXHAUSTED says to try later.
Status ForClient(const Status& status) {
  if (status.code() != StatusCode::kResourceExhausted) return status;
  return InvalidArgument(status.message());
}

Status CancelledByClient() { return {StatusCode::kCancelled, "cancelled by the client"}; }

AnswerOptions MakeAnswerOptions(Request* request, const std::vector<int32_t>& prompt) {
  AnswerOptions options;
  options.samples = request->n.value_or(1);
  options.stop = std::move(request->stop);
  options.include_stop_text = request->include_stop_str_in_output;
  options.min_tokens = request->min_tokens.value_or(0);
  options.echo = request->echo;
  options.prompt_logprobs = request->prompt_logprobs.has_value();
  if (options.echo || options.prompt_logprobs) options.prompt = prompt;
  return options;
}

}  // namespace

Intake::Intake(const tokenizer::Tokenizer* tokenizer, IntakeLimits limits,
               std::function<void(Submission)> submit, ChatRenderer chat)
    : tokenizer_(tokenizer),
      limits_(limits),
      submit_(std::move(submit)),
      chat_(std::move(chat)),
      closed_(Unavailable("the workers are starting")) {
  for (Lane* lane : {&short_, &long_})
    lane->thread = std::thread([this, lane] { RunTokenizing(lane); });
}

Intake::~Intake() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  for (Lane* lane : {&short_, &long_}) {
    lane->work.notify_one();
    lane->thread.join();
  }
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

// All or none: a request that does not fit takes no place from one that does.
Result<Place> Intake::TakePlaces(int64_t count, int64_t slots) {
  const int64_t places_max = limits_.waiting_max + slots;
  int64_t taken = places_taken_;
  do {
    if (taken + count > places_max)
      return ResourceExhausted("the queue is full: " + std::to_string(taken) +
                               " sequences wait or run, the request brings " +
                               std::to_string(count) + ", and the limit is " +
                               std::to_string(places_max) + "; try again later");
  } while (!places_taken_.compare_exchange_weak(taken, taken + count));
  return Place(&places_taken_, count);
}

Result<std::shared_ptr<const ModelLimits>> Intake::OpenedModel() {
  const std::lock_guard lock(mutex_);
  if (!closed_.ok()) return closed_;
  return model_;
}

Result<uint64_t> Intake::Submit(Request request, AnswerSink* sink) {
  OCTET_ASSIGN_OR_RETURN(const std::shared_ptr<const ModelLimits> model, OpenedModel());
  OCTET_RETURN_IF_ERROR(CheckRequest(request, limits_, *model));
  const int64_t samples = request.n.value_or(1);
  OCTET_ASSIGN_OR_RETURN(Place place, TakePlaces(samples, model->slots));
  const std::lock_guard lock(mutex_);
  if (!closed_.ok()) return closed_;  // it closed meanwhile
  const uint64_t id = ids_given_ + 1;
  ids_given_ += static_cast<uint64_t>(samples);  // its sequences have the ids from here on
  if (request.request_id.empty()) request.request_id = "request-" + std::to_string(id);
  MakeFindable(request.request_id, {id, sink}, &place);
  Lane& lane = PromptBytes(request.prompt) <= kShortPromptBytesMax ? short_ : long_;
  lane.pending.push_back({id, std::move(request), sink, std::move(place), model});
  lane.work.notify_one();
  return id;
}

void Intake::MakeFindable(const std::string& request_id, Live live, Place* place) {
  place->OnLeft([this, request_id, id = live.id] { Forget(request_id, id); });
  const std::lock_guard lock(live_mutex_);
  live_.emplace(request_id, live);
}

void Intake::Forget(const std::string& request_id, uint64_t id) {
  const std::lock_guard lock(live_mutex_);
  const auto [begin, end] = live_.equal_range(request_id);
  const auto found = std::find_if(begin, end, [id](const auto& e) { return e.second.id == id; });
  OCTET_CHECK(found != end);
  live_.erase(found);
}

std::vector<uint64_t> Intake::RequestCancel(const std::string& request_id) {
  std::vector<uint64_t> ids;
  const std::lock_guard lock(live_mutex_);
  const auto [begin, end] = live_.equal_range(request_id);
  for (auto live = begin; live != end; ++live) {
    live->second.sink->cancel_requested = true;
    ids.push_back(live->second.id);
  }
  return ids;
}

void Intake::Withdraw(uint64_t id) {
  std::optional<Pending> withdrawn;
  {
    const std::lock_guard lock(mutex_);
    for (Lane* lane : {&short_, &long_}) {
      const auto found = std::find_if(lane->pending.begin(), lane->pending.end(),
                                      [id](const Pending& pending) { return pending.id == id; });
      if (found == lane->pending.end()) continue;
      withdrawn.emplace(std::move(*found));
      lane->pending.erase(found);
      break;
    }
    if (!withdrawn.has_value()) return;
  }
  ++cancelled_;
  withdrawn->place.Leave();
  withdrawn->sink->OnEnd(CancelledByClient());
}

void Intake::RunTokenizing(Lane* lane) {
  std::unique_lock lock(mutex_);
  while (true) {
    lane->work.wait(lock, [this, lane] { return ending_ || !lane->pending.empty(); });
    if (lane->pending.empty()) return;
    Pending pending = std::move(lane->pending.front());
    lane->pending.pop_front();
    lock.unlock();
    Tokenize(std::move(pending));
    lock.lock();
  }
}

Result<std::vector<int32_t>> Intake::Encode(const Prompt& prompt, bool add_special_tokens,
                                            bool parse_special_tokens) const {
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) return *ids;
  if (const auto* text = std::get_if<std::string>(&prompt))
    return tokenizer_->Encode(*text, add_special_tokens, parse_special_tokens);
  const auto* chat = std::get_if<ChatRequest>(&prompt);
  OCTET_CHECK(chat != nullptr);
  if (!chat_)
    return FailedPrecondition(
        "the model has no chat template, which a prompt of messages needs (chat_template in its "
        "tokenizer_config.json, or chat_template.jinja beside it)");
  OCTET_ASSIGN_OR_RETURN(const Conversation conversation, ParseChat(*chat));
  const Result<RenderedChat> chat_text = chat_(conversation);
  if (!chat_text.ok()) return ForClient(chat_text.status());
  // The template has written all special tokens that there shall be.
  Result<std::vector<int32_t>> tokens =
      tokenizer_->Encode(chat_text->text, /*add_special_tokens=*/false, chat_text->given);
  if (!tokens.ok()) return ForClient(tokens.status());
  return tokens;
}

Result<std::vector<schedule::NewSequence>> Intake::MakeSequencesOf(Pending* pending) const {
  const Request& request = pending->request;
  if (pending->sink->cancel_requested) return CancelledByClient();
  OCTET_ASSIGN_OR_RETURN(
      std::vector<int32_t> tokens,
      Encode(request.prompt, request.add_special_tokens, request.parse_special_tokens));
  if (pending->sink->cancel_requested) return CancelledByClient();
  return MakeSequences(request, pending->id, std::move(tokens), RandomSeed(), *pending->model);
}

void Intake::Tokenize(Pending pending) {
  AnswerSink* sink = pending.sink;
  Request& request = pending.request;
  Result<std::vector<schedule::NewSequence>> sequences = MakeSequencesOf(&pending);
  if (!sequences.ok()) {
    if (sequences.status().code() == StatusCode::kCancelled) ++cancelled_;
    pending.place.Leave();  // before the client knows
    return sink->OnEnd(sequences.status());
  }
  const schedule::NewSequence& first = sequences->front();
  AcceptedAnswer accepted{request.request_id, first.sampling.seed,
                          static_cast<int64_t>(first.prompt.size()), first.max_tokens};
  AnswerOptions options = MakeAnswerOptions(&request, first.prompt);
  options.follows_text = tokenizer_->IsAnyShown(first.prompt, request.skip_special_tokens);
  Submission submission;
  submission.id = pending.id;
  submission.answer = std::make_unique<Answer>(sink, std::move(pending.place), tokenizer_,
                                               request.skip_special_tokens, std::move(accepted),
                                               std::move(options));
  submission.sequences = std::move(*sequences);
  submit_(std::move(submission));
}

}  // namespace octet::intake
