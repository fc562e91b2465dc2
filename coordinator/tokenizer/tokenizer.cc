#include "coordinator/tokenizer/tokenizer.h"

#include <deque>

#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/nfc.h"
#include "coordinator/tokenizer/tokenizer_state.h"

namespace octet::tokenizer {

// Pieces are views of the caller's text or of `owned`.
struct EncodeScratch {
  MatchScratch match;
  BpeScratch bpe;
  std::deque<std::string> owned;
  std::vector<std::string_view> pieces;
  std::vector<std::string_view> next_pieces;
};

namespace {

void PrefixSpaces(EncodeScratch* scratch) {
  for (const std::string_view piece : scratch->pieces) {
    if (piece.front() == ' ') {
      scratch->next_pieces.push_back(piece);
    } else {
      scratch->next_pieces.push_back(scratch->owned.emplace_back(" ").append(piece));
    }
  }
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Status Tokenizer::State::EncodeText(std::string_view text, EncodeScratch* scratch,
                                    std::vector<int32_t>* ids) const {
  scratch->pieces.assign(1, text);
  for (const Step& step : steps) {
    scratch->next_pieces.clear();
    if (step.split) {
      for (const std::string_view piece : scratch->pieces) {
        OCTET_RETURN_IF_ERROR(step.split->Split(piece, scratch->match, &scratch->next_pieces));
      }
    } else {
      PrefixSpaces(scratch);
    }
    std::swap(scratch->pieces, scratch->next_pieces);
  }
  for (const std::string_view word : scratch->pieces) bpe.EncodeWord(word, &scratch->bpe, ids);
  return {};
}

Result<std::vector<int32_t>> Tokenizer::Encode(std::string_view utf8, bool add_special_tokens,
                                               bool parse_special_tokens) const {
  const State& state = *state_;
  if (static_cast<int64_t>(utf8.size()) > kEncodeBytesMax) {
    return ResourceExhausted("text: " + std::to_string(utf8.size()) + " bytes, the limit is " +
                             std::to_string(kEncodeBytesMax));
  }
  if (const auto at = InvalidUtf8Offset(utf8)) {
    return InvalidArgument("text: not UTF-8 at byte " + std::to_string(*at));
  }
  std::vector<int32_t> ids;
  ids.reserve(utf8.size() / 3 + 8);
  if (add_special_tokens) ids = state.definition.prefix_ids;

  EncodeScratch scratch;
  std::vector<Segment> raw;
  std::vector<Segment> segments;
  state.raw_tokens.Split(utf8, parse_special_tokens, scratch.match, &raw);
  for (const Segment& segment : raw) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    std::string_view text = segment.text;
    if (state.definition.nfc && !IsTriviallyNfc(text)) {
      text = scratch.owned.emplace_back(ToNfc(text));
    }
    segments.clear();
    state.normalized_tokens.Split(text, parse_special_tokens, scratch.match, &segments);
    for (const Segment& part : segments) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        OCTET_RETURN_IF_ERROR(state.EncodeText(part.text, &scratch, &ids));
      }
    }
  }
  if (add_special_tokens) {
    ids.insert(ids.end(), state.definition.suffix_ids.begin(), state.definition.suffix_ids.end());
  }
  return ids;
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  IncrementalDetokenizer detokenizer(this, skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.Append(id);
  return text + detokenizer.Finish();
}

int64_t Tokenizer::vocab_size() const {
  return static_cast<int64_t>(state_->definition.tokens.size());
}

std::optional<int32_t> Tokenizer::TokenId(std::string_view token) const {
  const auto found = state_->id_of_token.find(token);
  if (found == state_->id_of_token.end()) return std::nullopt;
  return found->second;
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < vocab_size() && state_->is_special[static_cast<size_t>(id)];
}

std::string_view Tokenizer::TokenBytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  return state_->token_bytes[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::bos_id() const { return state_->definition.bos_id; }
std::optional<int32_t> Tokenizer::eos_id() const { return state_->definition.eos_id; }

std::string IncrementalDetokenizer::Append(int32_t id) {
  std::string text;
  if (skip_special_tokens_ && tokenizer_->IsSpecial(id)) return text;
  utf8_.Append(tokenizer_->TokenBytes(id), &text);
  return text;
}

std::string IncrementalDetokenizer::Finish() {
  std::string text;
  utf8_.Finish(&text);
  return text;
}

}  // namespace octet::tokenizer
