#include "coordinator/tokenizer/config_json.h"

#include <algorithm>

namespace octet::tokenizer {
namespace {

// "bos_token" of tokenizer_config.json: a string, or an object with the string in "content".
// `before` stands where the config does not say.
Result<std::optional<int32_t>> ReadToken(const JsonView& config, const std::string& key,
                                         const std::string& vocab_file,
                                         std::optional<int32_t> before,
                                         const Definition& definition) {
  JsonView token = config.Member(key);
  if (token.value().is_object()) token = token.Member("content");
  if (token.is_null()) return before;
  OCTET_ASSIGN_OR_RETURN(const std::string text, token.String());
  const auto& tokens = definition.tokens;
  const auto found = std::find(tokens.begin(), tokens.end(), text);
  if (text.empty() || found == tokens.end()) {
    return InvalidArgument(token.path() + " is " + Quoted(text) + ", which " + vocab_file +
                           " does not have");
  }
  return std::optional<int32_t>(static_cast<int32_t>(found - tokens.begin()));
}

// Only the class of Llama (and of what borrows it) makes its template from the keys.
bool ObeysKeys(const JsonView& config) {
  const JsonView name = config.Member("tokenizer_class");
  return name.value() == "LlamaTokenizer" || name.value() == "LlamaTokenizerFast" ||
         name.value() == "CodeLlamaTokenizer" || name.value() == "CodeLlamaTokenizerFast";
}

// Puts `id` at the end of the text that it belongs to, or takes what is there away.
Status AddEnd(const JsonView& key, std::optional<int32_t> id, bool obeys_keys,
              std::vector<int32_t>* ids) {
  if (key.is_null()) return {};
  OCTET_ASSIGN_OR_RETURN(const bool add, key.Bool(false));
  if (add && id && ids->empty()) ids->push_back(*id);
  if (!add && obeys_keys) ids->clear();
  return {};
}

void AddText(const JsonView& value, std::set<std::string>* texts) {
  const JsonView text = value.value().is_object() ? value.Member("content") : value;
  if (text.value().is_string()) texts->insert(text.value().get<std::string>());
}

}  // namespace

Status ParseEnds(const JsonView& config, const std::string& vocab_file, Definition* definition) {
  OCTET_RETURN_IF_ERROR(config.ExpectObject());
  OCTET_ASSIGN_OR_RETURN(definition->bos_id, ReadToken(config, "bos_token", vocab_file,
                                                       definition->bos_id, *definition));
  OCTET_ASSIGN_OR_RETURN(definition->eos_id, ReadToken(config, "eos_token", vocab_file,
                                                       definition->eos_id, *definition));
  const bool obeys_keys = ObeysKeys(config);
  OCTET_RETURN_IF_ERROR(AddEnd(config.Member("add_bos_token"), definition->bos_id, obeys_keys,
                               &definition->prefix_ids));
  return AddEnd(config.Member("add_eos_token"), definition->eos_id, obeys_keys,
                &definition->suffix_ids);
}

std::set<std::string> NamedTokens(const JsonView& config) {
  std::set<std::string> texts;
  for (const char* key : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                          "cls_token", "mask_token"}) {
    AddText(config.Member(key), &texts);
  }
  const JsonView more = config.Member("additional_special_tokens");
  if (!more.value().is_array()) return texts;
  for (size_t i = 0; i < more.value().size(); ++i) AddText(more.Element(i), &texts);
  return texts;
}

}  // namespace octet::tokenizer
