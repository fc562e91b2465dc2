#include "coordinator/tokenizer/tokenizer.h"

#include <algorithm>
#include <deque>

#include "coordinator/tokenizer/limits.h"
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

// Cuts before each `mark`.
void CutBefore(std::string_view mark, std::string_view text, std::vector<std::string_view>* out) {
  while (!text.empty()) {
    const size_t bytes = std::min(text.find(mark, 1), text.size());
    out->push_back(text.substr(0, bytes));
    text.remove_prefix(bytes);
  }
}

void MarkSpaces(const PreTokenizerStep& step, bool at_start, EncodeScratch* scratch) {
  using Prepend = PreTokenizerStep::Prepend;
  bool is_first = at_start;
  for (const std::string_view piece : scratch->pieces) {
    std::string marked;
    marked.reserve(piece.size() + piece.size() / 2 + step.text.size());
    for (const char c : piece) {
      if (c == ' ') {
        marked += step.text;
      } else {
        marked.push_back(c);
      }
    }
    const bool prepend =
        step.prepend == Prepend::kAlways || (step.prepend == Prepend::kFirst && is_first);
    if (prepend && !marked.starts_with(step.text)) marked.insert(0, step.text);
    is_first = false;
    const std::string& kept = scratch->owned.emplace_back(std::move(marked));
    if (step.split) {
      CutBefore(step.text, kept, &scratch->next_pieces);
    } else {
      scratch->next_pieces.push_back(kept);
    }
  }
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Status Tokenizer::State::PreTokenize(std::string_view text, bool at_start,
                                     EncodeScratch* scratch) const {
  scratch->pieces.assign(1, text);
  auto pattern = patterns.begin();
  for (const PreTokenizerStep& step : definition.steps) {
    scratch->next_pieces.clear();
    switch (step.kind) {
      case PreTokenizerStep::Kind::kPrefixSpace:
        PrefixSpaces(scratch);
        break;
      case PreTokenizerStep::Kind::kMetaspace:
        MarkSpaces(step, at_start, scratch);
        break;
      case PreTokenizerStep::Kind::kSplit:
        for (const std::string_view piece : scratch->pieces) {
          OCTET_RETURN_IF_ERROR(pattern->Split(piece, scratch->match, &scratch->next_pieces));
        }
        ++pattern;
        break;
    }
    std::swap(scratch->pieces, scratch->next_pieces);
  }
  return {};
}

Status Tokenizer::State::EncodeText(std::string_view text, bool at_start, EncodeScratch* scratch,
                                    std::vector<int32_t>* ids) const {
  OCTET_RETURN_IF_ERROR(PreTokenize(text, at_start, scratch));
  for (const std::string_view word : scratch->pieces) bpe->EncodeWord(word, &scratch->bpe, ids);
  return {};
}

Result<std::vector<int32_t>> Tokenizer::Encode(std::string_view utf8, bool add_special_tokens,
                                               bool parse_special_tokens) const {
  return Encode(utf8, add_special_tokens, ByteSpans::Whole(parse_special_tokens ? 0 : utf8.size()));
}

Result<std::vector<int32_t>> Tokenizer::Encode(std::string_view utf8, bool add_special_tokens,
                                               const ByteSpans& plain) const {
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
  state.raw_tokens.Split(utf8, plain, scratch.match, &raw);
  for (const Segment& segment : raw) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    scratch.owned.clear();
    const auto offset = static_cast<size_t>(segment.text.data() - utf8.data());
    const bool at_start = offset == 0;
    ByteSpans plain_here;
    if (state.normalized_tokens.any_special())
      plain_here = plain.Within(offset, offset + segment.text.size());
    OCTET_ASSIGN_OR_RETURN(
        const std::string_view text,
        state.normalizer.Apply(segment.text, at_start, &scratch.owned, &plain_here));
    segments.clear();
    state.normalized_tokens.Split(text, plain_here, scratch.match, &segments);
    for (const Segment& part : segments) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        const bool part_at_start = at_start && part.text.data() == text.data();
        OCTET_RETURN_IF_ERROR(state.EncodeText(part.text, part_at_start, &scratch, &ids));
      }
    }
  }
  if (add_special_tokens) {
    ids.insert(ids.end(), state.definition.suffix_ids.begin(), state.definition.suffix_ids.end());
  }
  return ids;
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

}  // namespace octet::tokenizer
