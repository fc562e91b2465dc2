#include "coordinator/transport/generate_call.h"

#include <utility>

#include "coordinator/transport/messages.h"

namespace octet::transport {

GenerateCall::GenerateCall(const v1::GenerateRequest& message, intake::Intake* intake,
                           const std::function<void(uint64_t)>* cancel, StreamWriter* writer)
    : cancel_(cancel), writer_(writer) {
  intake::Request request = ToRequest(message);
  prompt_due_ = request.echo || request.prompt_logprobs.has_value();
  const int32_t samples = request.n.value_or(1);
  if (samples >= 1 && samples <= intake::kSamplesMax)  // else intake refuses it
    samples_.resize(static_cast<size_t>(samples));
  const Result<uint64_t> id = intake->Submit(std::move(request), this);
  if (id.ok())
    id_ = *id;  // only OnCancel reads it, which comes after this
  else
    Finish(ToGrpc(id.status()));
}

void GenerateCall::OnAccepted(const intake::AcceptedAnswer& accepted) {
  const std::lock_guard lock(mutex_);
  SetAccepted(accepted, first_.emplace_back().mutable_accepted());
  Wake();
}

void GenerateCall::OnPrompt(const intake::PromptPiece& piece) {
  const std::lock_guard lock(mutex_);
  if (first_.empty() || !first_.back().has_prompt() ||
      first_.back().prompt().token_ids_size() >= kMessageTokensMax)
    first_.emplace_back();
  Append(piece, first_.back().mutable_prompt());
  if (piece.is_last) prompt_due_ = false;
  Wake();
}

void GenerateCall::OnChunk(const intake::AnswerChunk& chunk) {
  const std::lock_guard lock(mutex_);
  Messages& messages = samples_[static_cast<size_t>(chunk.sample)];
  if (messages.empty() || messages.back().chunk().token_ids_size() >= kMessageTokensMax)
    messages.emplace_back();
  Append(chunk, messages.back().mutable_chunk());
  Wake();
}

void GenerateCall::OnSampleEnd(const intake::SampleEnd& end) {
  const std::lock_guard lock(mutex_);
  Messages& messages = samples_[static_cast<size_t>(end.sample)];
  SetComplete(end, messages.emplace_back().mutable_complete());
  Wake();
}

void GenerateCall::OnEnd(const Status& status) {
  const std::lock_guard lock(mutex_);
  status_ = ToGrpc(status);
  Wake();
}

void GenerateCall::OnWriteDone(bool ok) {
  Action action;
  {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) client_gone_ = true;
    action = woken_ ? Action::kNone : NextAction();
  }
  Act(action);
}

// REQUIRES: mutex_ is held. While a write is under way its end goes on.
void GenerateCall::Wake() {
  if (woken_ || writing_) return;
  woken_ = true;
  writer_->Wake(this);
}

void GenerateCall::Advance() {
  Action action;
  {
    const std::lock_guard lock(mutex_);
    woken_ = false;
    action = NextAction();
  }
  Act(action);
}

void GenerateCall::OnCancel() {
  cancel_requested = true;
  if (id_ != 0) (*cancel_)(id_);
}

// Where the next message is, or null. REQUIRES: mutex_ is held.
GenerateCall::Messages* GenerateCall::NextMessages() {
  if (!first_.empty()) return &first_;
  if (prompt_due_) return nullptr;
  for (size_t i = 0; i < samples_.size(); ++i) {
    turn_ = (turn_ + 1) % samples_.size();
    if (!samples_[turn_].empty()) return &samples_[turn_];
  }
  return nullptr;
}

// REQUIRES: mutex_ is held. After kFinish was given, nothing else is.
GenerateCall::Action GenerateCall::NextAction() {
  if (writing_ || finished_) return Action::kNone;
  if (!client_gone_) {
    if (Messages* messages = NextMessages()) {
      outgoing_ = std::move(messages->front());
      messages->pop_front();
      writing_ = true;
      return Action::kWrite;
    }
  }
  if (!status_.has_value()) return Action::kNone;
  finished_ = true;
  return Action::kFinish;
}

// Outside the lock: gRPC may delete this object as soon as it has finished.
void GenerateCall::Act(Action action) {
  if (action == Action::kWrite) StartWrite(&outgoing_);
  if (action == Action::kFinish) Finish(*status_);
}

}  // namespace octet::transport
