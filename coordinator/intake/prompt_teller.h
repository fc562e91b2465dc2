// The prompt, told back to whoever asked for echo or prompt_logprobs: all of it at once, or as its
// log-probabilities come. The texts of all pieces together are the decoded prompt.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/intake/answer_sink.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace octet::intake {

class PromptTeller {
 public:
  // `tokenizer` outlives it. With `echo` there is text; with `logprobs` they are waited for.
  // REQUIRES: one of them.
  PromptTeller(std::vector<int32_t> prompt, bool echo, bool logprobs,
               const tokenizer::Tokenizer* tokenizer, bool skip_special_tokens);

  // What is told when the request is accepted. Once, first.
  PromptPiece Begin();
  // What these log-probabilities bring; the first is of the token at `position`. REQUIRES: they
  // follow the ones before without a gap.
  PromptPiece Continue(int64_t position, std::vector<schedule::TokenLogprobs> logprobs);

 private:
  PromptPiece Tell(int64_t count);

  const std::vector<int32_t> prompt_;
  const bool echo_;
  const bool logprobs_;
  tokenizer::IncrementalDetokenizer detokenizer_;
  int64_t told_ = 0;
  // Without log-probabilities: made before the step loop's thread has to do with it.
  std::optional<PromptPiece> whole_;
};

}  // namespace octet::intake
