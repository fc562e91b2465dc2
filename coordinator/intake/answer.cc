#include "coordinator/intake/answer.h"

#include "base/check.h"

namespace octet::intake {

void Answer::Accept() { sink_->OnAccepted(accepted_); }

bool Answer::Take(int32_t sample, const schedule::SequenceEvent& event) {
  OCTET_CHECK_EQ(sample, 0);
  const bool stopped = event.finished && event.reason == schedule::FinishReason::kStop;
  if (event.token >= 0) {
    OCTET_CHECK_EQ(event.position, completion_tokens_);
    ++completion_tokens_;
    AnswerChunk chunk{event.token, event.position, {}};
    if (!stopped) chunk.text = detokenizer_.Append(event.token);
    sink_->OnChunk(chunk);
  }
  if (!event.finished) return false;
  AnswerEnd end;
  end.stopped = stopped;
  end.stop_token_id = event.token;
  end.text = detokenizer_.Finish();
  end.prompt_tokens = accepted_.prompt_tokens;
  end.completion_tokens = completion_tokens_;
  End(end);
  return true;
}

void Answer::Fail(const Status& status) {
  AnswerEnd end;
  end.status = status;
  End(end);
}

void Answer::End(const AnswerEnd& end) {
  place_.Leave();  // before the client knows, so that its next request finds the place free
  sink_->OnEnd(end);
}

}  // namespace octet::intake
