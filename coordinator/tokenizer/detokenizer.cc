// Ids to text: Decode, and the same token by token.
#include <algorithm>

#include "coordinator/tokenizer/token_text.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "coordinator/tokenizer/tokenizer_state.h"

namespace octet::tokenizer {

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  IncrementalDetokenizer detokenizer(this, skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.Append(id);
  return text + detokenizer.Finish();
}

bool Tokenizer::IsShown(int32_t id, bool skip_special_tokens) const {
  if (id < 0 || id >= vocab_size() || state_->definition.tokens[static_cast<size_t>(id)].empty())
    return false;
  return !skip_special_tokens || !IsSpecial(id);
}

bool Tokenizer::IsAnyShown(std::span<const int32_t> ids, bool skip_special_tokens) const {
  return std::any_of(ids.begin(), ids.end(),
                     [&](int32_t id) { return IsShown(id, skip_special_tokens); });
}

IncrementalDetokenizer::IncrementalDetokenizer(const Tokenizer* tokenizer, bool skip_special_tokens,
                                               bool follows_text)
    : tokenizer_(tokenizer),
      skip_special_tokens_(skip_special_tokens),
      run_(tokenizer->state_->definition.decoder.keep_whole_characters) {
  Begin();
  if (follows_text) at_start_ = false;
}

void IncrementalDetokenizer::Begin() {
  const DecoderRules& rules = tokenizer_->state_->definition.decoder;
  at_start_ = rules.start_rule != DecoderRules::Start::kKept;
  strip_left_ = rules.start_count;
}

std::string IncrementalDetokenizer::Append(int32_t id) {
  std::string text;
  if (!tokenizer_->IsShown(id, skip_special_tokens_)) return text;
  const Tokenizer::State& state = *tokenizer_->state_;
  if (state.definition.decoder.byte_level) {
    utf8_.Append(tokenizer_->TokenBytes(id), &text);
    return text;
  }
  if (state.is_byte[static_cast<size_t>(id)]) {
    run_.Append(static_cast<uint8_t>(tokenizer_->TokenBytes(id)[0]), &text);
    AfterStart(&text);
    if (state.definition.decoder.start_rule == DecoderRules::Start::kFirstToken) at_start_ = false;
    return text;
  }
  run_.Finish(&text);
  AfterStart(&text);
  if (!at_start_) return text.append(tokenizer_->TokenBytes(id));
  // At the beginning `text` is empty.
  using Start = DecoderRules::Start;
  const Start rule = state.definition.decoder.start_rule;
  const std::string& spelling = state.SpellingOf(id);
  text = TextOfFirstToken(state.definition.decoder, spelling).bytes;
  const bool shortened = text.size() < tokenizer_->TokenBytes(id).size();
  AfterStart(&text);
  if (rule == Start::kFirstToken || (rule == Start::kFirstPiece && shortened)) at_start_ = false;
  return text;
}

// Takes from the beginning of the whole text what the decoder strips there.
void IncrementalDetokenizer::AfterStart(std::string* text) {
  if (!at_start_) return;
  const DecoderRules& rules = tokenizer_->state_->definition.decoder;
  if (rules.start_rule == DecoderRules::Start::kStripped) {
    for (; strip_left_ > 0 && text->starts_with(rules.start); --strip_left_) {
      text->erase(0, rules.start.size());
    }
    if (strip_left_ == 0) at_start_ = false;
  }
  if (!text->empty()) at_start_ = false;
}

std::string IncrementalDetokenizer::Finish() {
  std::string text;
  utf8_.Finish(&text);
  run_.Finish(&text);
  AfterStart(&text);
  Begin();
  return text;
}

}  // namespace octet::tokenizer
