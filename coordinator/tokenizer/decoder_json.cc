// Reads the decoder of a tokenizer.json. The library runs any list of steps; what checkpoints have
// is ByteLevel alone, or Replace, ByteFallback, Metaspace, Fuse and Strip in this order, each where
// it is wanted. That order is what DecoderRules can say, and everything else is refused.
#include "coordinator/tokenizer/definition_json.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/stage_json.h"

namespace octet::tokenizer {
namespace {

constexpr const char* kOrder = "Replace, ByteFallback, Metaspace, Fuse, Strip, in this order";

enum Stage { kBegin, kReplace, kByteFallback, kMetaspace, kFuse, kStrip, kByteLevel };

class DecoderReader {
 public:
  explicit DecoderReader(DecoderRules* rules) : rules_(rules) {}

  // REQUIRES: the document's depth is bounded; this recurses.
  Status Read(const JsonView& node) {
    OCTET_ASSIGN_OR_RETURN(const std::string type, node.Type());
    if (type == "Sequence") {
      const JsonView list = node.Member("decoders");
      OCTET_RETURN_IF_ERROR(list.ExpectArray(kDecoderStepsMax));
      for (size_t i = 0; i < list.value().size(); ++i) OCTET_RETURN_IF_ERROR(Read(list.Element(i)));
      return {};
    }
    if (type == "ByteLevel") {
      rules_->byte_level = true;
      return Enter(node, type, kByteLevel, stage_ == kBegin);
    }
    if (type == "Replace") return ReadReplace(node);
    if (type == "ByteFallback") {
      rules_->byte_fallback = true;
      return Enter(node, type, kByteFallback, stage_ < kByteFallback);
    }
    if (type == "Metaspace") return ReadMetaspaceStep(node);
    if (type == "Fuse") return Enter(node, type, kFuse, stage_ <= kMetaspace);
    if (type == "Strip") return ReadStrip(node);
    return node.Unsupported(Quoted(type),
                            "ByteLevel, Replace, ByteFallback, Metaspace, Fuse, Strip, Sequence");
  }

  bool empty() const { return stage_ == kBegin; }

 private:
  Status Enter(const JsonView& node, const std::string& type, Stage stage, bool allowed) {
    if (!allowed) return node.Unsupported(Quoted(type) + " at this place", kOrder);
    stage_ = stage;
    return {};
  }

  Status ReadReplace(const JsonView& node) {
    OCTET_RETURN_IF_ERROR(Enter(node, "Replace", kReplace, stage_ <= kReplace));
    if (static_cast<int64_t>(rules_->replacements.size()) == kDecoderStepsMax) {
      return ResourceExhausted(node.path() + ": more than " + std::to_string(kDecoderStepsMax) +
                               " steps");
    }
    OCTET_ASSIGN_OR_RETURN(Replacement replacement, ReadReplacement(node));
    rules_->replacements.push_back(std::move(replacement));
    return {};
  }

  Status ReadMetaspaceStep(const JsonView& node) {
    OCTET_RETURN_IF_ERROR(Enter(node, "Metaspace", kMetaspace, stage_ <= kByteFallback));
    OCTET_ASSIGN_OR_RETURN(const Metaspace metaspace, ReadMetaspace(node));
    rules_->replacements.push_back({metaspace.replacement, " "});
    if (metaspace.prepend != PreTokenizerStep::Prepend::kNever) {
      rules_->start_rule = DecoderRules::Start::kFirstToken;
      rules_->start = metaspace.replacement;
    }
    return {};
  }

  Status ReadStrip(const JsonView& node) {
    OCTET_RETURN_IF_ERROR(Enter(node, "Strip", kStrip, stage_ == kFuse));
    if (rules_->start_rule != DecoderRules::Start::kKept) {
      return node.Unsupported("`Strip` after `Metaspace`", "one of them");
    }
    OCTET_ASSIGN_OR_RETURN(rules_->start, ReadCharacter(node.Member("content")));
    OCTET_ASSIGN_OR_RETURN(const int32_t start, node.Member("start").Id(kDecoderStripMax + 1));
    OCTET_ASSIGN_OR_RETURN(const int32_t stop, node.Member("stop").Id(kDecoderStripMax + 1));
    if (stop != 0) return node.Member("stop").Unsupported(std::to_string(stop), "0");
    rules_->start_count = start;
    if (start > 0) rules_->start_rule = DecoderRules::Start::kStripped;
    return {};
  }

  DecoderRules* rules_;
  Stage stage_ = kBegin;
};

}  // namespace

Status ParseDecoder(const JsonView& root, Definition* definition) {
  const JsonView decoder = root.Member("decoder");
  DecoderRules& rules = definition->decoder;
  rules.byte_level = false;
  DecoderReader reader(&rules);
  OCTET_RETURN_IF_ERROR(reader.Read(decoder));
  if (reader.empty()) return decoder.Expected("a decoder that does something");
  if (rules.byte_level != definition->bpe.byte_level) {
    return definition->bpe.byte_level
               ? decoder.Expected("ByteLevel, as the pre_tokenizer has it")
               : decoder.Unsupported("`ByteLevel` without ByteLevel in the pre_tokenizer", kOrder);
  }
  return {};
}

}  // namespace octet::tokenizer
