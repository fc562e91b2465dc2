// One of the n samples of a request while it grows: events in, chunks and the end out. Owns the way
// from tokens to the text that may be sent. The step loop's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "coordinator/intake/answer_sink.h"
#include "coordinator/intake/stop_filter.h"
#include "coordinator/schedule/scheduler.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace octet::intake {

// What all samples of a request have in common.
struct SampleOptions {
  bool skip_special_tokens = true;
  bool include_stop_text = false;  // of a stop string or token that ends the answer
  int64_t min_tokens = 0;
  int64_t prompt_tokens = 0;
  // The prompt has text, which the answer goes on: some decoders take a space from a beginning.
  bool follows_text = true;
};

class Sample {
 public:
  // All of these outlive it.
  Sample(int32_t index, const tokenizer::Tokenizer* tokenizer, const StopStrings* stops,
         const SampleOptions* options)
      : index_(index),
        options_(options),
        detokenizer_(tokenizer, options->skip_special_tokens, options->follows_text),
        filter_(stops) {}

  struct Step {
    std::optional<AnswerChunk> chunk;
    std::optional<SampleEnd> end;
  };
  // REQUIRES: it has not ended, and the event is the next of this sample, no failure.
  Step Take(const schedule::SequenceEvent& event);

  int64_t completion_tokens() const { return completion_tokens_; }

 private:
  SampleEnd MakeEnd() const;

  int32_t index_;
  const SampleOptions* options_;
  tokenizer::IncrementalDetokenizer detokenizer_;
  StopFilter filter_;
  int64_t completion_tokens_ = 0;
  int64_t cached_tokens_ = 0;
};

}  // namespace octet::intake
