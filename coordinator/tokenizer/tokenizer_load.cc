// Builds a Tokenizer from its files.
#include <filesystem>

#include "base/file.h"
#include "coordinator/tokenizer/byte_alphabet.h"
#include "coordinator/tokenizer/definition_json.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/nfc.h"
#include "coordinator/tokenizer/tokenizer_state.h"

namespace octet::tokenizer {
namespace {

Result<std::string> ReadFile(const std::filesystem::path& path) {
  return ReadTextFile(path.string(), path.string(), kTokenizerJsonBytesMax);
}

// The form in which an added token is searched for and decoded.
std::string SearchedForm(const AddedToken& token, bool nfc) {
  return token.normalized && nfc ? ToNfc(token.content) : token.content;
}

std::vector<AddedToken> TokensOfStage(const Definition& definition, bool normalized) {
  std::vector<AddedToken> tokens;
  for (AddedToken token : definition.added_tokens) {
    if (token.normalized != normalized) continue;
    token.content = SearchedForm(token, definition.nfc);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// A token with a character outside the byte alphabet decodes to its own text. So do the library's
// decoders, and a special token such as "<|fin de texte é|>" therefore decodes byte by byte.
std::string BytesOf(const std::string& spelling) {
  return BytesOfSpelling(spelling).value_or(spelling);
}

std::string MakeArena(const Definition& definition, std::vector<std::string_view>* token_bytes) {
  std::vector<std::string> spellings = definition.tokens;
  for (const AddedToken& token : definition.added_tokens) {
    spellings[static_cast<size_t>(token.id)] = SearchedForm(token, definition.nfc);
  }
  std::string arena;
  std::vector<size_t> ends;
  for (const std::string& spelling : spellings) {
    arena += BytesOf(spelling);
    ends.push_back(arena.size());
  }
  arena.shrink_to_fit();
  size_t begin = 0;
  for (const size_t end : ends) {
    token_bytes->push_back(std::string_view(arena).substr(begin, end - begin));
    begin = end;
  }
  return arena;  // moved, not copied: the views stay good
}

// Two added tokens that differ only before normalization would be one in the search.
Status CheckSearchedFormsDiffer(const Definition& definition) {
  std::unordered_map<std::string, std::string> content_of_form;
  for (const AddedToken& token : TokensOfStage(definition, true)) {
    const auto& content = definition.tokens[static_cast<size_t>(token.id)];
    const auto [other, fresh] = content_of_form.emplace(token.content, content);
    if (!fresh) {
      return InvalidArgument("tokenizer.json: added_tokens " + Quoted(other->second) + " and " +
                             Quoted(content) + " are the same after normalization");
    }
  }
  return {};
}

// Of a model that has no tokenizer.json: names what it has instead.
Status CheckKind(const std::filesystem::path& dir) {
  std::error_code error;
  if (std::filesystem::exists(dir / "tokenizer.json", error)) return {};
  for (const char* other : {"tokenizer.model", "tiktoken.model", "tokenizer.tiktoken",
                            "qwen.tiktoken", "vocab.txt", "vocab.json"}) {
    if (!std::filesystem::exists(dir / other, error)) continue;
    return Unimplemented(dir.string() + ": the tokenizer is " + other +
                         ", supported is only tokenizer.json");
  }
  return {};
}

}  // namespace

Tokenizer::State::State(Definition checked)
    : definition(std::move(checked)),
      byte_arena(MakeArena(definition, &token_bytes)),
      is_special(definition.tokens.size(), false),
      raw_tokens(TokensOfStage(definition, false)),
      normalized_tokens(TokensOfStage(definition, true)),
      bpe(definition, token_bytes) {
  for (const AddedToken& token : definition.added_tokens) {
    if (token.special) is_special[static_cast<size_t>(token.id)] = true;
  }
  id_of_token.reserve(definition.tokens.size());
  for (size_t id = 0; id < definition.tokens.size(); ++id) {
    id_of_token.emplace(definition.tokens[id], static_cast<int32_t>(id));
  }
}

Result<Tokenizer> Tokenizer::FromJson(std::string_view json, std::string_view config_json) {
  OCTET_ASSIGN_OR_RETURN(Definition definition, ParseDefinition(json, config_json));
  OCTET_RETURN_IF_ERROR(CheckSearchedFormsDiffer(definition));
  auto state = std::make_unique<State>(std::move(definition));
  for (const PreTokenizerStep& step : state->definition.steps) {
    if (step.kind == PreTokenizerStep::Kind::kPrefixSpace) {
      state->steps.push_back({});
      continue;
    }
    OCTET_ASSIGN_OR_RETURN(SplitPattern pattern, SplitPattern::Compile(step.pattern));
    state->steps.push_back({std::move(pattern)});
  }
  return Tokenizer(std::move(state));
}

Result<Tokenizer> Tokenizer::Load(const std::string& model_dir) {
  const std::filesystem::path dir(model_dir);
  OCTET_RETURN_IF_ERROR(CheckKind(dir));
  OCTET_ASSIGN_OR_RETURN(const std::string json, ReadFile(dir / "tokenizer.json"));
  std::string config_json;
  if (std::error_code error; std::filesystem::exists(dir / "tokenizer_config.json", error)) {
    OCTET_ASSIGN_OR_RETURN(config_json, ReadFile(dir / "tokenizer_config.json"));
  }
  auto tokenizer = FromJson(json, config_json);
  if (tokenizer.ok()) return tokenizer;
  return Status(tokenizer.status().code(), model_dir + ": " + tokenizer.status().message());
}

}  // namespace octet::tokenizer
