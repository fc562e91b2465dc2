#include "coordinator/tokenizer/normalizer.h"

#include <algorithm>

#include "base/check.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/normal_form.h"
#include "coordinator/tokenizer/sentencepiece_normalizer.h"
#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {
namespace {

// Every step takes the spans of its text along, from left to right.
ByteSpans Moved(const ByteSpans& spans, size_t bytes) {
  ByteSpans moved;
  moved.Append(spans, bytes);
  return moved;
}

// The nearest places, up to `at` and from it on, where the text can be cut and normalized in parts:
// both are `at` unless characters before and behind it change together.
struct Cuts {
  size_t before = 0;
  size_t behind = 0;
};
Cuts CutsAt(std::string_view text, size_t at, NormalForm form) {
  size_t begin = at;
  size_t end = at;
  while (begin > 0 && begin < text.size() && JoinsBackwards(text.substr(begin), form))
    begin -= static_cast<size_t>(LastCodePoint(text.substr(0, begin)).length_bytes);
  if (begin == at) return {at, at};
  while (end < text.size() && JoinsBackwards(text.substr(end), form))
    end += static_cast<size_t>(FirstCodePoint(text.substr(end)).length_bytes);
  const std::string_view left = text.substr(begin, at - begin);
  const std::string_view right = text.substr(at, end - at);
  const bool apart = ToNormalForm(text.substr(begin, end - begin), form) ==
                     ToNormalForm(left, form) + ToNormalForm(right, form);
  return apart ? Cuts{at, at} : Cuts{begin, end};
}

ByteSpans ThroughNormalForm(std::string_view text, NormalForm form, const ByteSpans& spans) {
  ByteSpans out;
  size_t done = 0;
  size_t out_done = 0;
  const auto advance_to = [&](size_t end) {
    out_done += ToNormalForm(text.substr(done, end - done), form).size();
    done = end;
  };
  for (const ByteSpans::Span& span : spans.spans()) {
    if (span.end <= done) continue;
    advance_to(std::max(done, CutsAt(text, span.begin, form).before));
    const size_t begin = out_done;
    advance_to(CutsAt(text, span.end, form).behind);
    out.Add(begin, out_done);
  }
  return out;
}

Result<std::string> Replace(std::string_view text, const Replacement& replacement,
                            ByteSpans* spans) {
  std::string out;
  ByteSpans moved;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t found = std::min(text.find(replacement.pattern, at), text.size());
    moved.Append(spans->Within(at, found), out.size());
    out.append(text.substr(at, found - at));
    at = found;
    if (at == text.size()) break;
    const size_t end = at + replacement.pattern.size();
    if (spans->Touch(at, end)) moved.Add(out.size(), out.size() + replacement.content.size());
    out.append(replacement.content);
    at = end;
    if (static_cast<int64_t>(out.size()) > kNormalizedBytesMax) return TooLongNormalized();
  }
  *spans = std::move(moved);
  return out;
}

std::string_view Strip(std::string_view text, const NormalizerStep& step) {
  while (step.left && !text.empty()) {
    const CodePoint c = FirstCodePoint(text);
    if (!IsWhiteSpace(c.value)) break;
    text.remove_prefix(static_cast<size_t>(c.length_bytes));
  }
  while (step.right && !text.empty()) {
    const CodePoint c = LastCodePoint(text);
    if (!IsWhiteSpace(c.value)) break;
    text.remove_suffix(static_cast<size_t>(c.length_bytes));
  }
  return text;
}

}  // namespace

Status TooLongNormalized() {
  return ResourceExhausted("text: more than " + std::to_string(kNormalizedBytesMax) +
                           " bytes after normalization, which is the limit");
}

Normalizer::Normalizer(const Definition& definition) : steps_(definition.normalizer) {
  for (const NormalizerStep& step : steps_) {
    if (step.kind != NormalizerStep::Kind::kSentencePiece) continue;
    OCTET_CHECK_EQ(steps_.size(), size_t{1});
    sentence_piece_ = std::make_unique<const SentencePieceNormalizer>(definition.sentence_piece);
  }
}

Normalizer::~Normalizer() = default;

Result<std::string_view> Normalizer::Apply(std::string_view text, bool at_start,
                                           std::deque<std::string>* owned, ByteSpans* spans) const {
  using Kind = NormalizerStep::Kind;
  for (const NormalizerStep& step : steps_) {
    if (text.empty()) break;
    switch (step.kind) {
      case Kind::kNfc:
      case Kind::kTokenizersNfc:
      case Kind::kTokenizersNfkc: {
        const auto form = step.kind == Kind::kNfc             ? NormalForm::kNfc
                          : step.kind == Kind::kTokenizersNfc ? NormalForm::kTokenizersNfc
                                                              : NormalForm::kTokenizersNfkc;
        if (IsTriviallyNormal(text, form)) break;
        *spans = ThroughNormalForm(text, form, *spans);
        text = owned->emplace_back(ToNormalForm(text, form));
        break;
      }
      case Kind::kPrepend:
        text = owned->emplace_back(step.prepended).append(text);
        *spans = Moved(*spans, step.prepended.size());
        break;
      case Kind::kReplace: {
        if (text.find(step.replacement.pattern) == std::string_view::npos) break;
        OCTET_ASSIGN_OR_RETURN(std::string replaced, Replace(text, step.replacement, spans));
        text = owned->emplace_back(std::move(replaced));
        break;
      }
      case Kind::kStrip: {
        const std::string_view stripped = Strip(text, step);
        const auto begin = static_cast<size_t>(stripped.data() - text.data());
        *spans = spans->Within(begin, begin + stripped.size());
        text = stripped;
        break;
      }
      case Kind::kSentencePiece: {
        OCTET_ASSIGN_OR_RETURN(std::string normalized, sentence_piece_->Apply(text, at_start));
        // No token that is looked for in this text is special, so that it may all be theirs.
        *spans = ByteSpans::Whole(spans->empty() ? 0 : normalized.size());
        text = owned->emplace_back(std::move(normalized));
        break;
      }
    }
    if (static_cast<int64_t>(text.size()) > kNormalizedBytesMax) return TooLongNormalized();
  }
  return text;
}

Result<std::string> Normalizer::ApplyToToken(const std::string& content) const {
  if (sentence_piece_ != nullptr) return content;
  std::deque<std::string> owned;
  ByteSpans none;
  OCTET_ASSIGN_OR_RETURN(const std::string_view text, Apply(content, false, &owned, &none));
  return std::string(text);
}

}  // namespace octet::tokenizer
