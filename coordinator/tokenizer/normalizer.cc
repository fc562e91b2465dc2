#include "coordinator/tokenizer/normalizer.h"

#include <algorithm>

#include "base/check.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/normal_form.h"
#include "coordinator/tokenizer/sentencepiece_normalizer.h"
#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {
namespace {

Result<std::string> Replace(std::string_view text, const Replacement& replacement) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t found = std::min(text.find(replacement.pattern, at), text.size());
    out.append(text.substr(at, found - at));
    at = found;
    if (at == text.size()) break;
    out.append(replacement.content);
    at += replacement.pattern.size();
    if (static_cast<int64_t>(out.size()) > kNormalizedBytesMax) return TooLongNormalized();
  }
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
                                           std::deque<std::string>* owned) const {
  using Kind = NormalizerStep::Kind;
  for (const NormalizerStep& step : steps_) {
    if (text.empty()) break;
    switch (step.kind) {
      case Kind::kNfc:
      case Kind::kNfkc: {
        const auto form = step.kind == Kind::kNfc ? NormalForm::kNfc : NormalForm::kNfkc;
        if (!IsTriviallyNormal(text, form)) text = owned->emplace_back(ToNormalForm(text, form));
        break;
      }
      case Kind::kPrepend:
        text = owned->emplace_back(step.prepended).append(text);
        break;
      case Kind::kReplace: {
        if (text.find(step.replacement.pattern) == std::string_view::npos) break;
        OCTET_ASSIGN_OR_RETURN(std::string replaced, Replace(text, step.replacement));
        text = owned->emplace_back(std::move(replaced));
        break;
      }
      case Kind::kStrip:
        text = Strip(text, step);
        break;
      case Kind::kSentencePiece: {
        OCTET_ASSIGN_OR_RETURN(std::string normalized, sentence_piece_->Apply(text, at_start));
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
  OCTET_ASSIGN_OR_RETURN(const std::string_view text, Apply(content, false, &owned));
  return std::string(text);
}

}  // namespace octet::tokenizer
