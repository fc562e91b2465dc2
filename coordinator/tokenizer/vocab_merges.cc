// Reads the pair vocab.json and merges.txt, in which byte-level BPE was kept before tokenizer.json;
// OPT's checkpoints still have no other. They hold the model alone; the stages around it are those
// that transformers gives GPT2Tokenizer or Qwen2Tokenizer.
#include <algorithm>
#include <string>
#include <utility>

#include "coordinator/tokenizer/config_json.h"
#include "coordinator/tokenizer/definition_json.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/utf8.h"
#include "coordinator/tokenizer/vocab_files.h"

namespace octet::tokenizer {
namespace {

// "#version: 0.2" first, then a merge in each line.
Result<nlohmann::json> ReadMerges(std::string_view text) {
  nlohmann::json merges = nlohmann::json::array();
  bool is_first = true;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool is_version = std::exchange(is_first, false) && line.starts_with("#version");
    if (line.empty() || is_version) continue;
    if (static_cast<int64_t>(merges.size()) == kMergesMax) {
      return ResourceExhausted("merges.txt: more than " + std::to_string(kMergesMax) +
                               " merges, which is the limit");
    }
    if (const auto at = InvalidUtf8Offset(line)) {
      return InvalidArgument("merges.txt: merge " + std::to_string(merges.size()) +
                             " is not UTF-8 at byte " + std::to_string(*at));
    }
    merges.push_back(std::string(line));
  }
  return merges;
}

// The tokens that the config names and the vocabulary has are special.
nlohmann::json SpecialTokens(const JsonView& config, const nlohmann::json& vocab) {
  nlohmann::json tokens = nlohmann::json::array();
  for (const std::string& named : NamedTokens(config)) {
    const auto entry = vocab.find(named);
    if (entry == vocab.end()) continue;
    tokens.push_back(
        {{"id", *entry}, {"content", named}, {"special", true}, {"normalized", false}});
  }
  return tokens;
}

// Whose words they are: Qwen2's, else GPT-2's.
Result<bool> IsQwen2(const JsonView& config, const std::string& model_type) {
  OCTET_ASSIGN_OR_RETURN(const std::string name, config.Member("tokenizer_class").String(""));
  if (name == "Qwen2Tokenizer" || name == "Qwen2TokenizerFast") return true;
  if (name == "GPT2Tokenizer" || name == "GPT2TokenizerFast") return false;
  if (name.empty() && (model_type == "qwen2" || model_type == "qwen3")) return true;
  if (name.empty() && (model_type == "opt" || model_type == "gpt2")) return false;
  const std::string what =
      name.empty() ? "of a model of the type '" + model_type + "'" : "of the class '" + name + "'";
  return Unimplemented("vocab.json with merges.txt is " + what +
                       "; they are read for GPT2Tokenizer and Qwen2Tokenizer, which "
                       "tokenizer_config.json may name as its tokenizer_class");
}

// What is around the model, as tokenizer.json would have it.
nlohmann::json Stages(bool is_qwen2, bool prefix_space) {
  nlohmann::json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", prefix_space}};
  nlohmann::json stages = {{"decoder", byte_level}};
  if (is_qwen2) {
    byte_level["use_regex"] = false;
    const nlohmann::json split = {
        {"type", "Split"}, {"pattern", {{"Regex", kQwenPattern}}}, {"behavior", "Isolated"}};
    stages["normalizer"] = {{"type", "NFC"}};
    stages["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}};
  } else {
    stages["pre_tokenizer"] = byte_level;
  }
  return stages;
}

}  // namespace

Result<Definition> ParseVocabAndMerges(const VocabFiles& files, std::string_view merges_text,
                                       const std::string& model_type) {
  OCTET_ASSIGN_OR_RETURN(nlohmann::json vocab, ParseJson(files.vocab, files.name));
  OCTET_RETURN_IF_ERROR(JsonView(vocab, files.name + ":").ExpectObject());
  nlohmann::json config = nlohmann::json::object();
  if (!files.config_json.empty()) {
    OCTET_ASSIGN_OR_RETURN(config, ParseJson(files.config_json, "tokenizer_config.json"));
  }
  const JsonView config_view(config, "tokenizer_config.json:");
  OCTET_RETURN_IF_ERROR(config_view.ExpectObject());
  OCTET_ASSIGN_OR_RETURN(const bool prefix_space,
                         config_view.Member("add_prefix_space").Bool(false));
  OCTET_ASSIGN_OR_RETURN(const bool is_qwen2, IsQwen2(config_view, model_type));
  OCTET_ASSIGN_OR_RETURN(nlohmann::json merges, ReadMerges(merges_text));
  nlohmann::json root = Stages(is_qwen2, prefix_space);
  root["added_tokens"] = SpecialTokens(config_view, vocab);
  root["model"] = {{"type", "BPE"}, {"vocab", std::move(vocab)}, {"merges", std::move(merges)}};
  const std::string both = files.name + " and merges.txt";
  const nlohmann::json none;
  OCTET_ASSIGN_OR_RETURN(
      Definition definition,
      ParseDefinition(JsonView(root, both + ":"), JsonView(none, "tokenizer_config.json:")));
  OCTET_RETURN_IF_ERROR(AddTokensOfFiles(files, &definition));
  OCTET_RETURN_IF_ERROR(ParseEnds(config_view, both, &definition));
  return definition;
}

}  // namespace octet::tokenizer
