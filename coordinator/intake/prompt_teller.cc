#include "coordinator/intake/prompt_teller.h"

#include <utility>

#include "base/check.h"

namespace octet::intake {

PromptTeller::PromptTeller(std::vector<int32_t> prompt, bool echo, bool logprobs,
                           const tokenizer::Tokenizer* tokenizer, bool skip_special_tokens)
    : prompt_(std::move(prompt)),
      echo_(echo),
      logprobs_(logprobs),
      detokenizer_(tokenizer, skip_special_tokens) {
  OCTET_CHECK(echo || logprobs);
  if (!logprobs) whole_ = Tell(static_cast<int64_t>(prompt_.size()));
}

PromptPiece PromptTeller::Begin() {
  if (whole_.has_value()) return *std::exchange(whole_, std::nullopt);
  PromptPiece piece = Tell(1);
  piece.logprobs.emplace_back();  // nothing comes before the first token
  return piece;
}

PromptPiece PromptTeller::Continue(int64_t position,
                                   std::vector<schedule::TokenLogprobs> logprobs) {
  OCTET_CHECK(logprobs_);
  OCTET_CHECK_EQ(position, told_);
  PromptPiece piece = Tell(static_cast<int64_t>(logprobs.size()));
  piece.logprobs = std::move(logprobs);
  return piece;
}

PromptPiece PromptTeller::Tell(int64_t count) {
  const auto prompt_tokens = static_cast<int64_t>(prompt_.size());
  OCTET_CHECK_LE(told_ + count, prompt_tokens);
  PromptPiece piece;
  piece.first_position = told_;
  const auto begin = prompt_.begin() + told_;
  piece.tokens.assign(begin, begin + count);
  told_ += count;
  piece.is_last = told_ == prompt_tokens;
  if (!echo_) return piece;
  for (const int32_t token : piece.tokens) piece.text += detokenizer_.Append(token);
  if (piece.is_last) piece.text += detokenizer_.Finish();
  return piece;
}

}  // namespace octet::intake
