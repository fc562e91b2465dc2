// Finds and reads the files of a tokenizer.
#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "coordinator/tokenizer/definition_json.h"
#include "coordinator/tokenizer/json_reader.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "coordinator/tokenizer/vocab_files.h"

namespace octet::tokenizer {
namespace {

namespace fs = std::filesystem;

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// Empty when there is no such file.
Result<std::string> ReadIfThere(const fs::path& path) {
  if (!Exists(path)) return std::string();
  return ReadTextFile(path.string(), path.string(), kTokenizerJsonBytesMax);
}

// The name of the file with the vocabulary where there is no tokenizer.json; nothing: none.
std::optional<std::string> FindVocab(const fs::path& dir) {
  for (const char* name : {"qwen.tiktoken", "tokenizer.model", "tiktoken.model"}) {
    if (Exists(dir / name)) return name;
  }
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir, error)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".tiktoken")) names.push_back(name);
  }
  if (names.empty()) return std::nullopt;
  return *std::min_element(names.begin(), names.end());
}

// Of a model without any of these: names what it has instead.
Status CheckKind(const fs::path& dir) {
  for (const char* other : {"vocab.txt", "vocab.json", "spiece.model", "tekken.json"}) {
    if (!Exists(dir / other)) continue;
    return Unimplemented("the tokenizer is " + std::string(other) +
                         ", supported are tokenizer.json, tokenizer.model, *.tiktoken, and "
                         "vocab.json with merges.txt");
  }
  return {};
}

Result<Tokenizer> LoadVocab(const fs::path& dir, const std::string& name,
                            const std::string& config_json) {
  const fs::path path = dir / name;
  static_assert(kSentencePieceBytesMax == kTiktokenBytesMax);  // which it is, its bytes tell
  OCTET_ASSIGN_OR_RETURN(const std::string vocab,
                         ReadTextFile(path.string(), name, kSentencePieceBytesMax));
  OCTET_ASSIGN_OR_RETURN(const std::string added, ReadIfThere(dir / "added_tokens.json"));
  const VocabFiles files{name, vocab, config_json, added};
  return name.ends_with(".tiktoken") || LooksLikeTiktoken(vocab)
             ? Tokenizer::FromTiktoken(files)
             : Tokenizer::FromSentencePiece(files);
}

// config.json's, or empty.
Result<std::string> ModelType(const fs::path& dir) {
  OCTET_ASSIGN_OR_RETURN(const std::string text, ReadIfThere(dir / "config.json"));
  if (text.empty()) return text;
  OCTET_ASSIGN_OR_RETURN(const nlohmann::json config, ParseJson(text, "config.json"));
  const JsonView view(config, "config.json:");
  OCTET_RETURN_IF_ERROR(view.ExpectObject());
  return view.Member("model_type").String("");
}

Result<Tokenizer> LoadVocabAndMerges(const fs::path& dir, const std::string& config_json) {
  const std::string vocab_path = (dir / "vocab.json").string();
  OCTET_ASSIGN_OR_RETURN(const std::string vocab,
                         ReadTextFile(vocab_path, "vocab.json", kTokenizerJsonBytesMax));
  OCTET_ASSIGN_OR_RETURN(const std::string merges, ReadIfThere(dir / "merges.txt"));
  OCTET_ASSIGN_OR_RETURN(const std::string added, ReadIfThere(dir / "added_tokens.json"));
  OCTET_ASSIGN_OR_RETURN(const std::string model_type, ModelType(dir));
  OCTET_ASSIGN_OR_RETURN(
      Definition definition,
      ParseVocabAndMerges({"vocab.json", vocab, config_json, added}, merges, model_type));
  return Tokenizer::FromDefinition(std::move(definition));
}

// tokenizer_config.json, or empty. What special_tokens_map.json says goes before it where it does
// not list added tokens, as it did before transformers 4.34.
Result<std::string> ReadConfig(const fs::path& dir) {
  OCTET_ASSIGN_OR_RETURN(std::string text, ReadIfThere(dir / "tokenizer_config.json"));
  OCTET_ASSIGN_OR_RETURN(const std::string map_text, ReadIfThere(dir / "special_tokens_map.json"));
  if (map_text.empty()) return text;
  nlohmann::json config = nlohmann::json::object();
  if (!text.empty()) {
    OCTET_ASSIGN_OR_RETURN(config, ParseJson(text, "tokenizer_config.json"));
    OCTET_RETURN_IF_ERROR(JsonView(config, "tokenizer_config.json:").ExpectObject());
  }
  if (config.contains("added_tokens_decoder")) return text;
  OCTET_ASSIGN_OR_RETURN(const nlohmann::json map, ParseJson(map_text, "special_tokens_map.json"));
  OCTET_RETURN_IF_ERROR(JsonView(map, "special_tokens_map.json:").ExpectObject());
  config.update(map);
  return config.dump();
}

Result<Tokenizer> LoadFolder(const fs::path& dir) {
  OCTET_ASSIGN_OR_RETURN(const std::string config_json, ReadConfig(dir));
  if (!Exists(dir / "tokenizer.json")) {
    if (const auto name = FindVocab(dir)) return LoadVocab(dir, *name, config_json);
    if (Exists(dir / "vocab.json") && Exists(dir / "merges.txt")) {
      return LoadVocabAndMerges(dir, config_json);
    }
    OCTET_RETURN_IF_ERROR(CheckKind(dir));
  }
  const std::string path = (dir / "tokenizer.json").string();
  OCTET_ASSIGN_OR_RETURN(const std::string json, ReadTextFile(path, path, kTokenizerJsonBytesMax));
  return Tokenizer::FromJson(json, config_json);
}

}  // namespace

Result<Tokenizer> Tokenizer::FromJson(std::string_view json, std::string_view config_json) {
  OCTET_ASSIGN_OR_RETURN(Definition definition, ParseDefinition(json, config_json));
  return FromDefinition(std::move(definition));
}

Result<Tokenizer> Tokenizer::FromSentencePiece(const VocabFiles& files) {
  OCTET_ASSIGN_OR_RETURN(Definition definition, ParseSentencePiece(files));
  return FromDefinition(std::move(definition));
}

Result<Tokenizer> Tokenizer::FromTiktoken(const VocabFiles& files) {
  OCTET_ASSIGN_OR_RETURN(Definition definition, ParseTiktoken(files));
  return FromDefinition(std::move(definition));
}

Result<Tokenizer> Tokenizer::Load(const std::string& model_dir) {
  auto tokenizer = LoadFolder(model_dir);
  if (tokenizer.ok() || tokenizer.status().message().starts_with(model_dir)) return tokenizer;
  return Status(tokenizer.status().code(), model_dir + ": " + tokenizer.status().message());
}

}  // namespace octet::tokenizer
