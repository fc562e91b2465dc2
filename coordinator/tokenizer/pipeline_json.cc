// Reads the stages of a tokenizer.json around its model: normalizer, pre_tokenizer, post_processor
// and decoder. Truncation and padding are not read: they are the caller's business, and the same
// libraries that write them into the file ignore them there.
#include "coordinator/tokenizer/definition_json.h"
#include "coordinator/tokenizer/limits.h"

namespace octet::tokenizer {
namespace {

constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Status TooManySteps(const JsonView& view) {
  return ResourceExhausted(view.path() + ": more than " + std::to_string(kPreTokenizerStepsMax) +
                           " steps");
}

Status ParseNormalizer(const JsonView& normalizer, Definition* definition) {
  if (normalizer.is_null()) return {};
  OCTET_ASSIGN_OR_RETURN(const std::string type, normalizer.Type());
  if (type == "NFC") {
    definition->nfc = true;
    return {};
  }
  if (type != "Sequence") return normalizer.Unsupported(Quoted(type), "NFC, Sequence");
  const JsonView list = normalizer.Member("normalizers");
  OCTET_RETURN_IF_ERROR(list.ExpectArray(kPreTokenizerStepsMax));
  for (size_t i = 0; i < list.value().size(); ++i) {
    OCTET_RETURN_IF_ERROR(ParseNormalizer(list.Element(i), definition));
  }
  return {};
}

Result<std::string> ReadSplit(const JsonView& split) {
  const JsonView pattern = split.Member("pattern").Member("Regex");
  if (pattern.is_null()) return split.Member("pattern").Expected("{\"Regex\": ...}");
  OCTET_ASSIGN_OR_RETURN(const std::string behavior, split.Member("behavior").String());
  if (behavior != "Isolated") {
    return split.Member("behavior").Unsupported(Quoted(behavior), "Isolated");
  }
  OCTET_ASSIGN_OR_RETURN(const bool invert, split.Member("invert").Bool(false));
  if (invert) return split.Member("invert").Unsupported("true", "false");
  return pattern.String();
}

struct PreTokenizerState {
  std::vector<PreTokenizerStep>* steps;
  // After ByteLevel the text is in the byte alphabet, which no step of ours works on.
  bool byte_level_seen = false;
};

Status ParsePreTokenizer(const JsonView& node, PreTokenizerState* state);

Status ParsePreTokenizerSequence(const JsonView& node, PreTokenizerState* state) {
  const JsonView list = node.Member("pretokenizers");
  OCTET_RETURN_IF_ERROR(list.ExpectArray(kPreTokenizerStepsMax));
  for (size_t i = 0; i < list.value().size(); ++i) {
    OCTET_RETURN_IF_ERROR(ParsePreTokenizer(list.Element(i), state));
  }
  return {};
}

Status ParseByteLevel(const JsonView& node, PreTokenizerState* state) {
  OCTET_ASSIGN_OR_RETURN(const bool prefix_space, node.Member("add_prefix_space").Bool(true));
  OCTET_ASSIGN_OR_RETURN(const bool use_regex, node.Member("use_regex").Bool(true));
  if (prefix_space) state->steps->push_back({PreTokenizerStep::Kind::kPrefixSpace, ""});
  if (use_regex) state->steps->push_back({PreTokenizerStep::Kind::kSplit, kGpt2Pattern});
  state->byte_level_seen = true;
  return {};
}

// REQUIRES: the document's depth is bounded; this recurses.
Status ParsePreTokenizer(const JsonView& node, PreTokenizerState* state) {
  OCTET_ASSIGN_OR_RETURN(const std::string type, node.Type());
  if (type == "Sequence") return ParsePreTokenizerSequence(node, state);
  if (state->byte_level_seen) return node.Unsupported(Quoted(type) + " after ByteLevel", "nothing");
  if (static_cast<int64_t>(state->steps->size()) + 2 > kPreTokenizerStepsMax) {
    return TooManySteps(node);
  }
  if (type == "ByteLevel") return ParseByteLevel(node, state);
  if (type == "Split") {
    OCTET_ASSIGN_OR_RETURN(const std::string pattern, ReadSplit(node));
    state->steps->push_back({PreTokenizerStep::Kind::kSplit, pattern});
    return {};
  }
  if (type == "Digits") {
    OCTET_ASSIGN_OR_RETURN(const bool individual, node.Member("individual_digits").Bool(false));
    state->steps->push_back({PreTokenizerStep::Kind::kSplit, individual ? "\\p{N}" : "\\p{N}+"});
    return {};
  }
  return node.Unsupported(Quoted(type), "ByteLevel, Split, Digits, Sequence");
}

// One entry of TemplateProcessing's "single": the ids of a special token, or the text's place.
struct TemplatePiece {
  std::vector<int32_t> ids;
  bool is_text = false;
};

Result<TemplatePiece> ReadTemplatePiece(const JsonView& piece, const JsonView& special_tokens,
                                        int64_t vocab) {
  const JsonView sequence = piece.Member("Sequence");
  if (!sequence.is_null()) {
    OCTET_ASSIGN_OR_RETURN(const std::string name, sequence.Member("id").String());
    if (name != "A") return sequence.Unsupported("the sequence " + Quoted(name), "\"A\"");
    return TemplatePiece{{}, true};
  }
  OCTET_ASSIGN_OR_RETURN(const std::string name,
                         piece.Member("SpecialToken").Member("id").String());
  const JsonView ids = special_tokens.Member(name).Member("ids");
  OCTET_RETURN_IF_ERROR(ids.ExpectArray(kTemplateTokensMax));
  TemplatePiece result;
  for (size_t i = 0; i < ids.value().size(); ++i) {
    OCTET_ASSIGN_OR_RETURN(const int32_t id, ids.Element(i).Id(vocab));
    result.ids.push_back(id);
  }
  return result;
}

Status ParseTemplate(const JsonView& node, Definition* definition) {
  const JsonView single = node.Member("single");
  OCTET_RETURN_IF_ERROR(single.ExpectArray(kTemplateTokensMax));
  std::vector<int32_t> before;
  std::vector<int32_t> after;
  int64_t text_count = 0;
  for (size_t i = 0; i < single.value().size(); ++i) {
    OCTET_ASSIGN_OR_RETURN(const TemplatePiece piece,
                           ReadTemplatePiece(single.Element(i), node.Member("special_tokens"),
                                             static_cast<int64_t>(definition->tokens.size())));
    if (piece.is_text) ++text_count;
    auto& side = text_count == 0 ? before : after;
    side.insert(side.end(), piece.ids.begin(), piece.ids.end());
  }
  if (text_count != 1) return single.Expected("a template that holds the sequence A once");
  // A later processor of a Sequence wraps what the earlier ones made.
  auto& prefix = definition->prefix_ids;
  auto& suffix = definition->suffix_ids;
  prefix.insert(prefix.begin(), before.begin(), before.end());
  suffix.insert(suffix.end(), after.begin(), after.end());
  return {};
}

Status ParsePostProcessor(const JsonView& node, Definition* definition) {
  if (node.is_null()) return {};
  OCTET_ASSIGN_OR_RETURN(const std::string type, node.Type());
  if (type == "ByteLevel") return {};  // it moves offsets only, and we have none
  if (type == "TemplateProcessing") return ParseTemplate(node, definition);
  if (type != "Sequence") {
    return node.Unsupported(Quoted(type), "TemplateProcessing, ByteLevel, Sequence");
  }
  const JsonView list = node.Member("processors");
  OCTET_RETURN_IF_ERROR(list.ExpectArray(kPreTokenizerStepsMax));
  for (size_t i = 0; i < list.value().size(); ++i) {
    OCTET_RETURN_IF_ERROR(ParsePostProcessor(list.Element(i), definition));
  }
  return {};
}

Status CheckDecoder(const JsonView& decoder) {
  OCTET_ASSIGN_OR_RETURN(const std::string type, decoder.Type());
  if (type != "ByteLevel") return decoder.Unsupported(Quoted(type), "ByteLevel");
  return {};
}

}  // namespace

Status ParsePipeline(const JsonView& root, Definition* definition) {
  OCTET_RETURN_IF_ERROR(ParseNormalizer(root.Member("normalizer"), definition));
  const JsonView pre_tokenizer = root.Member("pre_tokenizer");
  PreTokenizerState state{&definition->steps};
  OCTET_RETURN_IF_ERROR(ParsePreTokenizer(pre_tokenizer, &state));
  if (!state.byte_level_seen) {
    return pre_tokenizer.Unsupported("a pre-tokenizer without ByteLevel", "byte-level ones");
  }
  OCTET_RETURN_IF_ERROR(ParsePostProcessor(root.Member("post_processor"), definition));
  return CheckDecoder(root.Member("decoder"));
}

}  // namespace octet::tokenizer
