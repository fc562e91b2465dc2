// The tokens that transformers keeps beside a vocabulary: added_tokens.json and
// tokenizer_config.json.
#include <algorithm>
#include <charconv>
#include <unordered_map>
#include <unordered_set>

#include "coordinator/tokenizer/config_json.h"
#include "coordinator/tokenizer/json_reader.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/vocab_files.h"

namespace octet::tokenizer {
namespace {

struct ListedToken {
  AddedToken token;
  std::string path;  // for messages
};

Status Check(const ListedToken& listed) {
  const std::string& content = listed.token.content;
  if (content.empty()) return InvalidArgument(listed.path + " holds an empty token");
  if (static_cast<int64_t>(content.size()) > kTokenBytesMax) {
    return ResourceExhausted(listed.path + " holds a token of " + std::to_string(content.size()) +
                             " bytes, the limit is " + std::to_string(kTokenBytesMax));
  }
  return {};
}

// added_tokens_decoder: {"32000": {"content": "<pad>", "special": true, ...}, ...}
Status ReadDecoderTokens(const JsonView& config, std::vector<ListedToken>* tokens) {
  const JsonView decoder = config.Member("added_tokens_decoder");
  if (decoder.is_null()) return {};
  OCTET_RETURN_IF_ERROR(decoder.ExpectObject());
  for (const auto& [key, value] : decoder.value().items()) {
    const JsonView entry(value, decoder.path() + "." + key.substr(0, 20));
    ListedToken listed{.path = entry.path()};
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), listed.token.id);
    if (error != std::errc() || end != key.data() + key.size() || listed.token.id < 0 ||
        listed.token.id >= kVocabEntriesMax) {
      return InvalidArgument(decoder.path() + " has the key " + Quoted(key) +
                             ", expected a token id in [0, " + std::to_string(kVocabEntriesMax) +
                             ")");
    }
    OCTET_RETURN_IF_ERROR(entry.ExpectObject());
    OCTET_ASSIGN_OR_RETURN(listed.token.content, entry.Member("content").String());
    OCTET_ASSIGN_OR_RETURN(listed.token.special, entry.Member("special").Bool(false));
    OCTET_ASSIGN_OR_RETURN(listed.token.lstrip, entry.Member("lstrip").Bool(false));
    OCTET_ASSIGN_OR_RETURN(listed.token.rstrip, entry.Member("rstrip").Bool(false));
    OCTET_ASSIGN_OR_RETURN(listed.token.single_word, entry.Member("single_word").Bool(false));
    tokens->push_back(std::move(listed));
  }
  return {};
}

// added_tokens.json: {"<pad>": 32000, ...}
Status ReadAddedTokensFile(std::string_view text, const JsonView& config,
                           std::vector<ListedToken>* tokens) {
  OCTET_ASSIGN_OR_RETURN(const nlohmann::json document, ParseJson(text, "added_tokens.json"));
  const JsonView root(document, "added_tokens.json:");
  OCTET_RETURN_IF_ERROR(root.ExpectObject());
  const std::set<std::string> named = NamedTokens(config);
  std::unordered_map<std::string_view, int32_t> ids_before;
  for (const ListedToken& listed : *tokens)
    ids_before.emplace(listed.token.content, listed.token.id);
  std::vector<ListedToken> more;
  for (const auto& [content, value] : document.items()) {
    const JsonView entry(value, "added_tokens.json: " + Quoted(content));
    ListedToken listed{.path = entry.path()};
    OCTET_ASSIGN_OR_RETURN(listed.token.id, entry.Id(kVocabEntriesMax));
    const auto before = ids_before.find(content);
    if (before != ids_before.end() && before->second == listed.token.id) continue;
    listed.token.content = content;
    listed.token.special = named.contains(content);
    more.push_back(std::move(listed));
  }
  std::move(more.begin(), more.end(), std::back_inserter(*tokens));
  return {};
}

class Adder {
 public:
  explicit Adder(Definition* definition) : definition_(definition) {
    for (size_t id = 0; id < definition->tokens.size(); ++id) {
      if (definition->tokens[id].empty()) continue;
      id_of_token_.emplace(definition->tokens[id], static_cast<int32_t>(id));
    }
    for (size_t i = 0; i < definition->added_tokens.size(); ++i) {
      index_of_id_.emplace(definition->added_tokens[i].id, i);
    }
  }

  Status Add(const ListedToken& listed) {
    OCTET_RETURN_IF_ERROR(Check(listed));
    const AddedToken& token = listed.token;
    const auto [known, fresh] = id_of_token_.emplace(token.content, token.id);
    if (!fresh && known->second != token.id) {
      return InvalidArgument(listed.path + " gives " + Quoted(token.content) + " the id " +
                             std::to_string(token.id) + ", and " + std::to_string(known->second) +
                             " is its id already");
    }
    if (!listed_ids_.insert(token.id).second) {
      return InvalidArgument(listed.path + " gives the id " + std::to_string(token.id) +
                             " to a second added token, " + Quoted(token.content));
    }
    OCTET_RETURN_IF_ERROR(TakePlace(listed));
    const auto before = index_of_id_.find(token.id);
    if (before == index_of_id_.end()) {
      definition_->added_tokens.push_back(token);
    } else {
      definition_->added_tokens[before->second] = token;
    }
    return {};
  }

 private:
  Status TakePlace(const ListedToken& listed) {
    const auto id = static_cast<size_t>(listed.token.id);
    BpeModel& bpe = definition_->bpe;
    if (id >= definition_->tokens.size()) {
      definition_->tokens.resize(id + 1);
      if (bpe.by_span()) bpe.span_ranks.resize(id + 1, BpeModel::kNoRank);
    }
    std::string& place = definition_->tokens[id];
    if (place == listed.token.content && !listed.token.special) return {};
    const auto byte = std::find(bpe.byte_ids.begin(), bpe.byte_ids.end(), listed.token.id);
    if (byte != bpe.byte_ids.end()) {
      return InvalidArgument(listed.path + " gives " + Quoted(listed.token.content) + " the id " +
                             std::to_string(id) + ", which is that of the byte " +
                             std::to_string(byte - bpe.byte_ids.begin()));
    }
    place = listed.token.content;
    // No text may become the token by merging, least of all a special one.
    if (bpe.by_span()) bpe.span_ranks[id] = BpeModel::kNoRank;
    std::erase_if(bpe.merges, [&](const Merge& m) { return m.result == listed.token.id; });
    std::erase(bpe.word_ids, listed.token.id);
    return {};
  }

  Definition* definition_;
  std::unordered_map<std::string, int32_t> id_of_token_;
  std::unordered_map<int32_t, size_t> index_of_id_;  // in added_tokens
  std::unordered_set<int32_t> listed_ids_;
};

}  // namespace

Status AddTokensOfFiles(const VocabFiles& files, Definition* definition) {
  nlohmann::json document = nlohmann::json::object();
  if (!files.config_json.empty()) {
    OCTET_ASSIGN_OR_RETURN(document, ParseJson(files.config_json, "tokenizer_config.json"));
  }
  const JsonView config(document, "tokenizer_config.json:");
  OCTET_RETURN_IF_ERROR(config.ExpectObject());
  std::vector<ListedToken> tokens;
  OCTET_RETURN_IF_ERROR(ReadDecoderTokens(config, &tokens));
  if (!files.added_tokens_json.empty()) {
    OCTET_RETURN_IF_ERROR(ReadAddedTokensFile(files.added_tokens_json, config, &tokens));
  }
  Adder adder(definition);
  for (const ListedToken& listed : tokens) OCTET_RETURN_IF_ERROR(adder.Add(listed));
  return {};
}

}  // namespace octet::tokenizer
