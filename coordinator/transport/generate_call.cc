#include "coordinator/transport/generate_call.h"

#include <utility>

#include "coordinator/transport/messages.h"

namespace octet::transport {

GenerateCall::GenerateCall(const v1::GenerateRequest& request, intake::Intake* intake,
                           const std::function<void(uint64_t)>* cancel)
    : cancel_(cancel) {
  const Result<uint64_t> id = intake->Submit(ToRequest(request), this);
  if (id.ok())
    id_ = *id;  // only OnCancel reads it, which comes after this
  else
    Finish(ToGrpc(id.status()));
}

void GenerateCall::OnAccepted(const intake::AcceptedAnswer& accepted) {
  Action action;
  {
    const std::lock_guard lock(mutex_);
    v1::GenerateResponse::Accepted* out = accepted_.emplace().mutable_accepted();
    out->set_request_id(accepted.request_id);
    out->set_seed(accepted.seed);
    out->set_prompt_tokens(accepted.prompt_tokens);
    out->set_max_tokens(accepted.max_tokens);
    action = NextAction();
  }
  Act(action);
}

void GenerateCall::OnChunk(const intake::AnswerChunk& chunk) {
  Action action;
  {
    const std::lock_guard lock(mutex_);
    if (!chunk_.has_value()) chunk_.emplace().mutable_chunk()->set_first_position(chunk.position);
    chunk_->mutable_chunk()->add_token_ids(chunk.token);
    chunk_->mutable_chunk()->mutable_text()->append(chunk.text);
    action = NextAction();
  }
  Act(action);
}

void GenerateCall::OnEnd(const intake::AnswerEnd& end) {
  Action action;
  {
    const std::lock_guard lock(mutex_);
    status_ = ToGrpc(end.status);
    if (end.status.ok()) {
      if (!end.text.empty()) {
        if (!chunk_.has_value())
          chunk_.emplace().mutable_chunk()->set_first_position(end.completion_tokens);
        chunk_->mutable_chunk()->mutable_text()->append(end.text);
      }
      v1::GenerateResponse::Complete* out = complete_.emplace().mutable_complete();
      out->set_finish_reason(end.stopped ? v1::FINISH_REASON_STOP : v1::FINISH_REASON_LENGTH);
      if (end.stopped) out->set_stop_token_id(end.stop_token_id);
      out->mutable_usage()->set_prompt_tokens(end.prompt_tokens);
      out->mutable_usage()->set_completion_tokens(end.completion_tokens);
    }
    action = NextAction();
  }
  Act(action);
}

void GenerateCall::OnWriteDone(bool ok) {
  Action action;
  {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok) client_gone_ = true;
    action = NextAction();
  }
  Act(action);
}

void GenerateCall::OnCancel() {
  cancel_requested = true;
  if (id_ != 0) (*cancel_)(id_);
}

// REQUIRES: mutex_ is held. After kFinish was given, nothing else is.
GenerateCall::Action GenerateCall::NextAction() {
  if (writing_ || finished_) return Action::kNone;
  if (!client_gone_) {
    for (auto* next : {&accepted_, &chunk_, &complete_}) {
      if (!next->has_value()) continue;
      outgoing_ = std::move(**next);
      next->reset();
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
