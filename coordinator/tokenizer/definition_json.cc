#include "coordinator/tokenizer/definition_json.h"

#include <algorithm>
#include <unordered_map>

#include "coordinator/tokenizer/byte_alphabet.h"
#include "coordinator/tokenizer/config_json.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/pair_table.h"
#include "coordinator/tokenizer/token_text.h"
#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {
namespace {

using IdOfToken = std::unordered_map<std::string_view, int32_t>;  // views into the document

Status CheckTokenText(const std::string& text, const std::string& path) {
  if (text.empty()) return InvalidArgument(path + " holds an empty token");
  if (static_cast<int64_t>(text.size()) > 2 * kTokenBytesMax) {  // one byte spells as two at most
    return ResourceExhausted(path + " holds a token of " + std::to_string(text.size()) +
                             " bytes, the limit is " + std::to_string(2 * kTokenBytesMax));
  }
  return {};
}

// Gives `id` to `text`; tokens without a text so far are empty.
Status PlaceToken(const std::string& path, const std::string& text, int32_t id,
                  std::vector<std::string>* tokens) {
  OCTET_RETURN_IF_ERROR(CheckTokenText(text, path));
  if (id >= static_cast<int32_t>(tokens->size())) tokens->resize(static_cast<size_t>(id) + 1);
  std::string& place = (*tokens)[static_cast<size_t>(id)];
  if (!place.empty()) {
    return InvalidArgument(path + " gives the id " + std::to_string(id) + " to both " +
                           Quoted(place) + " and " + Quoted(text));
  }
  place = text;
  return {};
}

Status FindBytesOfAlphabet(const JsonView& vocab, const IdOfToken& id_of_token, BpeModel* bpe) {
  for (int byte = 0; byte < 256; ++byte) {
    std::string spelling;
    AppendCodePoint(SpellingOfByte(static_cast<uint8_t>(byte)), &spelling);
    const auto found = id_of_token.find(spelling);
    if (found == id_of_token.end()) {
      return InvalidArgument(vocab.path() + " has no token for the byte " + std::to_string(byte) +
                             " (spelled " + Quoted(spelling) +
                             "); a byte-level vocabulary has all 256");
    }
    bpe->byte_ids[static_cast<size_t>(byte)] = found->second;
  }
  return {};
}

// Some of them may be missing: a character that needs one of those is unknown.
void FindFallbackBytes(const IdOfToken& id_of_token, BpeModel* bpe) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto found = id_of_token.find(FallbackTokenOfByte(static_cast<uint8_t>(byte)));
    bpe->byte_ids[static_cast<size_t>(byte)] = found == id_of_token.end() ? -1 : found->second;
  }
}

Status ParseVocab(const JsonView& vocab, Definition* definition, IdOfToken* id_of_token) {
  OCTET_RETURN_IF_ERROR(vocab.ExpectObject());
  BpeModel& bpe = definition->bpe;
  const auto entries = static_cast<int64_t>(vocab.value().size());
  if (entries > kVocabEntriesMax) {
    return ResourceExhausted(vocab.path() + " has " + std::to_string(entries) +
                             " entries, the limit is " + std::to_string(kVocabEntriesMax));
  }
  if (entries == 0) return vocab.Expected(bpe.byte_level ? "at least the 256 bytes" : "tokens");
  for (const auto& [text, value] : vocab.value().items()) {
    const JsonView entry(value, vocab.path());
    const auto id = entry.Id(kVocabEntriesMax);
    if (!id.ok()) {
      return InvalidArgument(id.status().message() + " for the token " + Quoted(text));
    }
    OCTET_RETURN_IF_ERROR(PlaceToken(vocab.path(), text, *id, &definition->tokens));
    id_of_token->emplace(text, *id);
    if (!bpe.byte_level || BytesOfSpelling(text)) bpe.word_ids.push_back(*id);
  }
  std::sort(bpe.word_ids.begin(), bpe.word_ids.end());
  if (bpe.byte_level) return FindBytesOfAlphabet(vocab, *id_of_token, &bpe);
  FindFallbackBytes(*id_of_token, &bpe);
  return {};
}

struct MergeText {
  std::string_view left;
  std::string_view right;
};

Result<MergeText> ReadMerge(const JsonView& merges, size_t rank) {
  const nlohmann::json& value = merges.value()[rank];
  if (value.is_string()) {
    const std::string_view text = value.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos) {
      return MergeText{text.substr(0, space), text.substr(space + 1)};
    }
  } else if (value.is_array() && value.size() == 2 && value[0].is_string() &&
             value[1].is_string()) {
    return MergeText{value[0].get_ref<const std::string&>(),
                     value[1].get_ref<const std::string&>()};
  }
  return merges.Element(rank).Expected("two tokens, as \"a b\" or [\"a\", \"b\"]");
}

Status ParseMerges(const JsonView& merges, const IdOfToken& id_of_token, Definition* definition) {
  OCTET_RETURN_IF_ERROR(merges.ExpectArray(kMergesMax));
  PairTable seen(static_cast<int64_t>(merges.value().size()));
  definition->bpe.merges.reserve(merges.value().size());
  std::string joined;
  for (size_t rank = 0; rank < merges.value().size(); ++rank) {
    OCTET_ASSIGN_OR_RETURN(const MergeText text, ReadMerge(merges, rank));
    joined.assign(text.left).append(text.right);
    int32_t ids[3];
    const std::string_view parts[3] = {text.left, text.right, joined};
    for (int i = 0; i < 3; ++i) {
      const auto found = id_of_token.find(parts[i]);
      if (found == id_of_token.end()) {
        return InvalidArgument(merges.Element(rank).path() + " needs the token " +
                               Quoted(parts[i]) + ", which model.vocab does not have");
      }
      ids[i] = found->second;
    }
    if (!seen.Insert(ids[0], ids[1], 0)) {
      return InvalidArgument(merges.Element(rank).path() + " merges " + Quoted(text.left) +
                             " and " + Quoted(text.right) + " a second time");
    }
    definition->bpe.merges.push_back({ids[0], ids[1], ids[2]});
  }
  return {};
}

// Of a byte-level model byte_fallback, unk_token and fuse_unk are not looked at: with all 256 bytes
// in the vocabulary nothing is unknown.
Status ParseUnknown(const JsonView& model, const IdOfToken& id_of_token, BpeModel* bpe) {
  if (bpe->byte_level) return {};
  OCTET_ASSIGN_OR_RETURN(bpe->byte_fallback, model.Member("byte_fallback").Bool(false));
  OCTET_ASSIGN_OR_RETURN(bpe->fuse_unk, model.Member("fuse_unk").Bool(false));
  const JsonView unk_token = model.Member("unk_token");
  if (unk_token.is_null()) return {};
  OCTET_ASSIGN_OR_RETURN(const std::string text, unk_token.String());
  const auto found = id_of_token.find(text);
  if (found == id_of_token.end()) {
    return InvalidArgument(unk_token.path() + " is " + Quoted(text) +
                           ", which model.vocab does not have");
  }
  bpe->unk_id = found->second;
  return {};
}

Status ParseModel(const JsonView& model, Definition* definition, IdOfToken* id_of_token) {
  OCTET_RETURN_IF_ERROR(model.ExpectObject());
  // Old files have no type; a list of merges then tells BPE from the others.
  if (!model.Member("type").is_null() || model.Member("merges").is_null()) {
    OCTET_ASSIGN_OR_RETURN(const std::string type, model.Type());
    if (type != "BPE") return model.Member("type").Unsupported(Quoted(type), "BPE");
  }
  const nlohmann::json& dropout = model.Member("dropout").value();
  if (!dropout.is_null() && !(dropout.is_number() && dropout.get<double>() == 0.0)) {
    return model.Member("dropout").Unsupported("a dropout", "null");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const JsonView affix = model.Member(key);
    if (!affix.is_null() && affix.value() != "") {
      return affix.Unsupported("a prefix or suffix of subwords", "null");
    }
  }
  OCTET_ASSIGN_OR_RETURN(definition->bpe.ignore_merges, model.Member("ignore_merges").Bool(false));
  OCTET_RETURN_IF_ERROR(ParseVocab(model.Member("vocab"), definition, id_of_token));
  OCTET_RETURN_IF_ERROR(ParseUnknown(model, *id_of_token, &definition->bpe));
  return ParseMerges(model.Member("merges"), *id_of_token, definition);
}

Result<AddedToken> ReadAddedToken(const JsonView& entry) {
  OCTET_RETURN_IF_ERROR(entry.ExpectObject());
  AddedToken token;
  OCTET_ASSIGN_OR_RETURN(token.content, entry.Member("content").String());
  OCTET_ASSIGN_OR_RETURN(token.id, entry.Member("id").Id(kVocabEntriesMax));
  OCTET_ASSIGN_OR_RETURN(token.special, entry.Member("special").Bool(false));
  OCTET_ASSIGN_OR_RETURN(token.lstrip, entry.Member("lstrip").Bool(false));
  OCTET_ASSIGN_OR_RETURN(token.rstrip, entry.Member("rstrip").Bool(false));
  OCTET_ASSIGN_OR_RETURN(token.single_word, entry.Member("single_word").Bool(false));
  OCTET_ASSIGN_OR_RETURN(token.normalized, entry.Member("normalized").Bool(!token.special));
  return token;
}

Status ParseAddedTokens(const JsonView& list, const IdOfToken& id_of_token,
                        Definition* definition) {
  if (list.is_null()) return {};
  OCTET_RETURN_IF_ERROR(list.ExpectArray(kVocabEntriesMax));
  for (size_t i = 0; i < list.value().size(); ++i) {
    const JsonView entry = list.Element(i);
    OCTET_ASSIGN_OR_RETURN(AddedToken token, ReadAddedToken(entry));
    const auto in_vocab = id_of_token.find(token.content);
    if (in_vocab == id_of_token.end()) {
      OCTET_RETURN_IF_ERROR(PlaceToken(entry.path(), token.content, token.id, &definition->tokens));
    } else if (in_vocab->second != token.id) {
      return InvalidArgument(entry.path() + " gives " + Quoted(token.content) + " the id " +
                             std::to_string(token.id) + ", model.vocab the id " +
                             std::to_string(in_vocab->second));
    }
    definition->added_tokens.push_back(std::move(token));
  }
  return {};
}

// One content with two ids, or one id listed twice, would leave the choice to chance.
Status CheckAddedTokensDiffer(const Definition& definition, const std::string& path) {
  std::unordered_map<std::string_view, int32_t> id_of_content;
  for (const AddedToken& token : definition.added_tokens) {
    if (!id_of_content.emplace(token.content, token.id).second) {
      return InvalidArgument(path + " added_tokens lists " + Quoted(token.content) + " twice");
    }
  }
  return {};
}

// Hugging Face numbers added tokens on from the size of the vocabulary. After a gap the file and
// that rule disagree about ids, so a file with a gap has no one meaning.
Status CheckNoGap(const Definition& definition, const std::string& path) {
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    if (definition.tokens[id].empty()) {
      return InvalidArgument(path + " no token has the id " + std::to_string(id) +
                             ", while ids go up to " +
                             std::to_string(definition.tokens.size() - 1));
    }
  }
  return {};
}

}  // namespace

Result<Definition> ParseDefinition(const JsonView& root, const JsonView& config) {
  OCTET_RETURN_IF_ERROR(root.ExpectObject());
  Definition definition;
  IdOfToken id_of_token;
  OCTET_RETURN_IF_ERROR(ParseNormalizer(root, &definition));
  OCTET_RETURN_IF_ERROR(ParsePreTokenizer(root, &definition));
  OCTET_RETURN_IF_ERROR(ParseModel(root.Member("model"), &definition, &id_of_token));
  OCTET_RETURN_IF_ERROR(ParseAddedTokens(root.Member("added_tokens"), id_of_token, &definition));
  OCTET_RETURN_IF_ERROR(CheckAddedTokensDiffer(definition, root.path()));
  OCTET_RETURN_IF_ERROR(CheckNoGap(definition, root.path()));
  OCTET_RETURN_IF_ERROR(ParsePostProcessor(root, &definition));
  OCTET_RETURN_IF_ERROR(ParseDecoder(root, &definition));
  if (config.is_null()) return definition;
  const std::set<std::string> named = NamedTokens(config);
  for (AddedToken& token : definition.added_tokens) token.special |= named.contains(token.content);
  OCTET_RETURN_IF_ERROR(
      ParseEnds(config, root.path().substr(0, root.path().size() - 1), &definition));
  return definition;
}

Result<Definition> ParseDefinition(std::string_view tokenizer_json, std::string_view config_json) {
  OCTET_ASSIGN_OR_RETURN(const nlohmann::json document,
                         ParseJson(tokenizer_json, "tokenizer.json"));
  nlohmann::json config;
  if (!config_json.empty()) {
    OCTET_ASSIGN_OR_RETURN(config, ParseJson(config_json, "tokenizer_config.json"));
    OCTET_RETURN_IF_ERROR(JsonView(config, "tokenizer_config.json:").ExpectObject());
  }
  return ParseDefinition(JsonView(document, "tokenizer.json:"),
                         JsonView(config, "tokenizer_config.json:"));
}

}  // namespace octet::tokenizer
