// Reads the normalizer of a tokenizer.json, and the parts that other stages have too.
#include "coordinator/tokenizer/definition_json.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/stage_json.h"
#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {
namespace {

Result<std::string> ReadContent(const JsonView& member) {
  OCTET_ASSIGN_OR_RETURN(std::string text, member.String());
  if (static_cast<int64_t>(text.size()) > kReplacementBytesMax) {
    return ResourceExhausted(member.path() + " has " + std::to_string(text.size()) +
                             " bytes, the limit is " + std::to_string(kReplacementBytesMax));
  }
  return text;
}

Status ParseStep(const JsonView& node, std::vector<NormalizerStep>* steps);

Status ParseSequence(const JsonView& node, std::vector<NormalizerStep>* steps) {
  const JsonView list = node.Member("normalizers");
  OCTET_RETURN_IF_ERROR(list.ExpectArray(kNormalizerStepsMax));
  for (size_t i = 0; i < list.value().size(); ++i) {
    OCTET_RETURN_IF_ERROR(ParseStep(list.Element(i), steps));
  }
  return {};
}

Result<NormalizerStep> ReadReplace(const JsonView& node) {
  NormalizerStep step{NormalizerStep::Kind::kReplace};
  OCTET_ASSIGN_OR_RETURN(step.replacement, ReadReplacement(node));
  return step;
}

Result<NormalizerStep> ReadStrip(const JsonView& node) {
  NormalizerStep step{NormalizerStep::Kind::kStrip};
  OCTET_ASSIGN_OR_RETURN(step.left, node.Member("strip_left").Bool(false));
  OCTET_ASSIGN_OR_RETURN(step.right, node.Member("strip_right").Bool(false));
  return step;
}

Result<NormalizerStep> ReadPrepend(const JsonView& node) {
  NormalizerStep step{NormalizerStep::Kind::kPrepend};
  OCTET_ASSIGN_OR_RETURN(step.prepended, ReadContent(node.Member("prepend")));
  return step;
}

// REQUIRES: the document's depth is bounded; this recurses.
Status ParseStep(const JsonView& node, std::vector<NormalizerStep>* steps) {
  OCTET_ASSIGN_OR_RETURN(const std::string type, node.Type());
  if (type == "Sequence") return ParseSequence(node, steps);
  if (static_cast<int64_t>(steps->size()) == kNormalizerStepsMax) {
    return ResourceExhausted(node.path() + ": more than " + std::to_string(kNormalizerStepsMax) +
                             " steps");
  }
  Result<NormalizerStep> step = NormalizerStep{NormalizerStep::Kind::kTokenizersNfc};
  if (type == "NFKC") {
    step = NormalizerStep{NormalizerStep::Kind::kTokenizersNfkc};
  } else if (type == "Prepend") {
    step = ReadPrepend(node);
  } else if (type == "Replace") {
    step = ReadReplace(node);
  } else if (type == "Strip") {
    step = ReadStrip(node);
  } else if (type != "NFC") {
    return node.Unsupported(Quoted(type), "NFC, NFKC, Prepend, Replace, Strip, Sequence");
  }
  OCTET_RETURN_IF_ERROR(step.status());
  steps->push_back(std::move(step).value());
  return {};
}

}  // namespace

Status ParseNormalizer(const JsonView& root, Definition* definition) {
  const JsonView normalizer = root.Member("normalizer");
  if (normalizer.is_null()) return {};
  return ParseStep(normalizer, &definition->normalizer);
}

Result<Replacement> ReadReplacement(const JsonView& node) {
  const JsonView pattern = node.Member("pattern");
  if (!pattern.Member("Regex").is_null()) {
    return pattern.Unsupported("a Regex", "a String");
  }
  Replacement replacement;
  OCTET_ASSIGN_OR_RETURN(replacement.pattern, ReadContent(pattern.Member("String")));
  if (replacement.pattern.empty())
    return pattern.Member("String").Expected("a text that is not empty");
  OCTET_ASSIGN_OR_RETURN(replacement.content, ReadContent(node.Member("content")));
  return replacement;
}

Result<std::string> ReadCharacter(const JsonView& member) {
  OCTET_ASSIGN_OR_RETURN(std::string text, member.String());
  if (text.empty() || static_cast<size_t>(FirstCodePoint(text).length_bytes) != text.size()) {
    return member.Expected("one character");
  }
  return text;
}

// Files from before prepend_scheme have add_prefix_space instead; the library takes true for
// "always", and nothing but "never" together with false.
Result<Metaspace> ReadMetaspace(const JsonView& node) {
  Metaspace metaspace;
  OCTET_ASSIGN_OR_RETURN(metaspace.replacement, ReadCharacter(node.Member("replacement")));
  const JsonView scheme = node.Member("prepend_scheme");
  std::string name = "always";
  if (!scheme.is_null()) {
    OCTET_ASSIGN_OR_RETURN(name, scheme.String());
  }
  if (name == "first") {
    metaspace.prepend = PreTokenizerStep::Prepend::kFirst;
  } else if (name == "never") {
    metaspace.prepend = PreTokenizerStep::Prepend::kNever;
  } else if (name != "always") {
    return scheme.Expected("first, always or never");
  }
  OCTET_ASSIGN_OR_RETURN(const bool prefix_space, node.Member("add_prefix_space").Bool(true));
  if (!prefix_space && name != "never") {
    return node.Member("add_prefix_space").Expected("true, as prepend_scheme is \"" + name + "\"");
  }
  OCTET_ASSIGN_OR_RETURN(metaspace.split, node.Member("split").Bool(true));
  return metaspace;
}

}  // namespace octet::tokenizer
