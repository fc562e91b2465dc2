#include "coordinator/intake/sample.h"

#include <utility>

#include "base/check.h"

namespace octet::intake {

Sample::Step Sample::Take(const schedule::SequenceEvent& event) {
  const bool has_token = event.token >= 0;
  const bool at_stop_token = event.finished && event.reason == schedule::FinishReason::kStop;
  if (has_token) {
    OCTET_CHECK_EQ(event.position, completion_tokens_);
    if (completion_tokens_++ == 0) cached_tokens_ = event.cached_tokens;
  }

  std::string grown;
  if (has_token && (!at_stop_token || options_->include_stop_text))
    grown = detokenizer_.Append(event.token);
  if (event.finished) grown += detokenizer_.Finish();
  StopFilter::Piece piece = filter_.Append(grown, completion_tokens_ >= options_->min_tokens);

  Step step;
  if (piece.stop != nullptr) {
    step.end = MakeEnd();
    step.end->stop_string = *piece.stop;
    if (options_->include_stop_text) piece.text += *piece.stop;
  } else if (event.finished) {
    step.end = MakeEnd();
    if (at_stop_token) step.end->stop_token = event.token;
    piece.text += filter_.Finish();
  }
  if (has_token)
    step.chunk = {index_, event.token, event.position, std::move(piece.text), event.logprobs};
  return step;
}

SampleEnd Sample::MakeEnd() const {
  SampleEnd end;
  end.sample = index_;
  end.prompt_tokens = options_->prompt_tokens;
  end.completion_tokens = completion_tokens_;
  end.cached_tokens = cached_tokens_;
  return end;
}

}  // namespace octet::intake
