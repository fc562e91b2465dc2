// Reads the stages of a tokenizer.json before and after its model: pre_tokenizer and
// post_processor. Truncation and padding are not read: they are the caller's business, and the same
// libraries that write them into the file ignore them there.
#include "coordinator/tokenizer/definition_json.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/stage_json.h"

namespace octet::tokenizer {
namespace {

constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Status TooManySteps(const JsonView& view) {
  return ResourceExhausted(view.path() + ": more than " + std::to_string(kPreTokenizerStepsMax) +
                           " steps");
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

Status ParseStep(const JsonView& node, PreTokenizerState* state);

Status ParsePreTokenizerSequence(const JsonView& node, PreTokenizerState* state) {
  const JsonView list = node.Member("pretokenizers");
  OCTET_RETURN_IF_ERROR(list.ExpectArray(kPreTokenizerStepsMax));
  for (size_t i = 0; i < list.value().size(); ++i) {
    OCTET_RETURN_IF_ERROR(ParseStep(list.Element(i), state));
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

Status ParseMetaspace(const JsonView& node, PreTokenizerState* state) {
  OCTET_ASSIGN_OR_RETURN(const Metaspace metaspace, ReadMetaspace(node));
  PreTokenizerStep step{PreTokenizerStep::Kind::kMetaspace, metaspace.replacement};
  step.prepend = metaspace.prepend;
  step.split = metaspace.split;
  state->steps->push_back(std::move(step));
  return {};
}

// REQUIRES: the document's depth is bounded; this recurses.
Status ParseStep(const JsonView& node, PreTokenizerState* state) {
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
  if (type == "Metaspace") return ParseMetaspace(node, state);
  return node.Unsupported(Quoted(type), "ByteLevel, Metaspace, Split, Digits, Sequence");
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

Status ParseProcessor(const JsonView& node, Definition* definition) {
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
    OCTET_RETURN_IF_ERROR(ParseProcessor(list.Element(i), definition));
  }
  return {};
}

}  // namespace

Status ParsePreTokenizer(const JsonView& root, Definition* definition) {
  const JsonView pre_tokenizer = root.Member("pre_tokenizer");
  PreTokenizerState state{&definition->steps};
  if (!pre_tokenizer.is_null()) OCTET_RETURN_IF_ERROR(ParseStep(pre_tokenizer, &state));
  definition->bpe.byte_level = state.byte_level_seen;
  return {};
}

Status ParsePostProcessor(const JsonView& root, Definition* definition) {
  return ParseProcessor(root.Member("post_processor"), definition);
}

}  // namespace octet::tokenizer
