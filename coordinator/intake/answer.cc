#include "coordinator/intake/answer.h"

#include "base/check.h"

namespace octet::intake {

Answer::Answer(AnswerSink* sink, Place place, const tokenizer::Tokenizer* tokenizer,
               bool skip_special_tokens, AcceptedAnswer accepted, AnswerOptions options)
    : sink_(sink),
      place_(std::move(place)),
      accepted_(std::move(accepted)),
      stops_(std::move(options.stop)),
      sample_options_{.skip_special_tokens = skip_special_tokens,
                      .include_stop_text = options.include_stop_text,
                      .min_tokens = options.min_tokens,
                      .prompt_tokens = accepted_.prompt_tokens,
                      .follows_text = options.follows_text} {
  for (int32_t i = 0; i < options.samples; ++i)
    samples_.emplace_back(i, tokenizer, &stops_, &sample_options_);
  if (options.echo || options.prompt_logprobs)
    prompt_.emplace(std::move(options.prompt), options.echo, options.prompt_logprobs, tokenizer,
                    skip_special_tokens);
}

void Answer::Accept() {
  sink_->OnAccepted(accepted_);
  if (prompt_.has_value()) sink_->OnPrompt(prompt_->Begin());
}

bool Answer::Take(int32_t sample, const schedule::SequenceEvent& event) {
  OCTET_CHECK(sample >= 0 && sample < static_cast<int32_t>(samples_.size()));
  Sample& taking = samples_[static_cast<size_t>(sample)];
  bool over = true;
  if (event.finished && event.reason == schedule::FinishReason::kFailed && failed_.ok())
    failed_ = Internal("the model gave no usable logits for token " +
                       std::to_string(taking.completion_tokens()) + " of answer " +
                       std::to_string(sample) + ": none of them is a number");
  if (failed_.ok()) {
    if (!event.prompt_logprobs.empty()) {
      OCTET_CHECK(prompt_.has_value());
      sink_->OnPrompt(prompt_->Continue(event.prompt_position, event.prompt_logprobs));
    }
    const Sample::Step step = taking.Take(event);
    if (step.chunk.has_value()) sink_->OnChunk(*step.chunk);
    over = step.end.has_value();
    if (over) {
      place_.LeaveOne();
      sink_->OnSampleEnd(*step.end);
    }
  }
  if (over && ++samples_over_ == static_cast<int32_t>(samples_.size())) End(failed_);
  return over;
}

void Answer::Fail(const Status& status) { End(status); }

void Answer::End(const Status& status) {
  place_.Leave();  // before the client knows, so that its next request finds the place free
  sink_->OnEnd(status);
}

}  // namespace octet::intake
