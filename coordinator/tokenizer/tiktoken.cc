// Reads a vocabulary of tiktoken: lines of base64(bytes) and rank, where the rank is the id and the
// priority of a merge. The file says neither how words are cut nor what the special tokens are:
// that goes by the name of the file and its size.
#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "coordinator/tokenizer/base64.h"
#include "coordinator/tokenizer/byte_alphabet.h"
#include "coordinator/tokenizer/config_json.h"
#include "coordinator/tokenizer/json_reader.h"
#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/utf8.h"
#include "coordinator/tokenizer/vocab_files.h"

namespace octet::tokenizer {
namespace {

// Llama-3's, and transformers' default for a tiktoken file.
constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwenFile = "qwen.tiktoken";
constexpr int32_t kQwenSpecialBegin = 151643;  // whatever the number of ranks
constexpr int32_t kQwenExtras = 205;
constexpr int32_t kLlama3Ranks = 128000;
constexpr int32_t kLlama3Specials = 256;

struct Line {
  std::string bytes;
  int32_t rank = 0;
};

// Nothing: not such a line.
std::optional<Line> ReadLine(std::string_view text) {
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) return {};
  Line line;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + space + 1, end, line.rank);
  if (error != std::errc() || rest != end || line.rank < 0) return {};
  auto bytes = DecodeBase64(text.substr(0, space));
  if (!bytes.has_value()) return {};
  line.bytes = std::move(*bytes);
  return line;
}

// Takes the first line off `text`, without what ends it.
std::string_view TakeLine(std::string_view* text) {
  const size_t end = std::min(text->find('\n'), text->size());
  std::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::string SpellingOfBytes(std::string_view bytes) {
  std::string spelling;
  for (const char byte : bytes) {
    AppendCodePoint(SpellingOfByte(static_cast<uint8_t>(byte)), &spelling);
  }
  return spelling;
}

Status CheckLine(const Line& line, const std::string& path) {
  if (line.rank >= kVocabEntriesMax) {
    return ResourceExhausted(path + " has the rank " + std::to_string(line.rank) +
                             ", the limit is " + std::to_string(kVocabEntriesMax - 1));
  }
  if (static_cast<int64_t>(line.bytes.size()) > kTokenBytesMax) {
    return ResourceExhausted(path + " has a token of " + std::to_string(line.bytes.size()) +
                             " bytes, the limit is " + std::to_string(kTokenBytesMax));
  }
  return {};
}

// Fills tokens, byte_ids, word_ids and span_ranks.
Status ReadRanks(const VocabFiles& files, Definition* definition) {
  BpeModel& bpe = definition->bpe;
  bpe.byte_ids.fill(-1);
  std::unordered_map<std::string, int32_t> rank_of_bytes;
  std::string_view rest = files.vocab;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const std::string_view text = TakeLine(&rest);
    if (text.empty()) continue;
    const std::string path = files.name + ": line " + std::to_string(number);
    const auto line = ReadLine(text);
    if (!line.has_value()) {
      return InvalidArgument(path + " is " +
                             (InvalidUtf8Offset(text) ? "not UTF-8" : Quoted(text)) +
                             ", expected base64, a space and a rank");
    }
    OCTET_RETURN_IF_ERROR(CheckLine(*line, path));
    const auto [other, fresh] = rank_of_bytes.emplace(line->bytes, line->rank);
    if (!fresh) {
      return InvalidArgument(path + " has the bytes of the rank " + std::to_string(other->second) +
                             " again");
    }
    const auto rank = static_cast<size_t>(line->rank);
    if (rank >= definition->tokens.size()) definition->tokens.resize(rank + 1);
    if (!definition->tokens[rank].empty()) {
      return InvalidArgument(path + " has the rank " + std::to_string(rank) +
                             ", which an earlier line has");
    }
    definition->tokens[rank] = SpellingOfBytes(line->bytes);
    if (line->bytes.size() == 1) bpe.byte_ids[static_cast<uint8_t>(line->bytes[0])] = line->rank;
  }
  for (int byte = 0; byte < 256; ++byte) {
    if (bpe.byte_ids[static_cast<size_t>(byte)] >= 0) continue;
    return InvalidArgument(files.name + ": no line has the byte " + std::to_string(byte) +
                           " alone; a vocabulary of tiktoken has all 256");
  }
  bpe.span_ranks.assign(definition->tokens.size(), BpeModel::kNoRank);
  for (size_t rank = 0; rank < definition->tokens.size(); ++rank) {
    if (definition->tokens[rank].empty()) continue;
    bpe.span_ranks[rank] = static_cast<int32_t>(rank);
    bpe.word_ids.push_back(static_cast<int32_t>(rank));
  }
  return {};
}

Status AddSpecial(const std::string& file, int32_t id, std::string content, bool normalized,
                  Definition* definition) {
  const auto place = static_cast<size_t>(id);
  if (place >= definition->tokens.size()) {
    definition->tokens.resize(place + 1);
    definition->bpe.span_ranks.resize(place + 1, BpeModel::kNoRank);
  }
  if (!definition->tokens[place].empty()) {
    return InvalidArgument(file + ": the rank " + std::to_string(id) +
                           " is in the file, expected " + Quoted(content) + " to have this id");
  }
  definition->tokens[place] = content;
  AddedToken token;
  token.content = std::move(content);
  token.id = id;
  token.special = true;
  token.normalized = normalized;
  definition->added_tokens.push_back(std::move(token));
  return {};
}

// tokenization_qwen.py: NFC of the whole text first, then the special tokens are looked for.
Status AddQwen(const std::string& file, Definition* definition) {
  definition->normalizer = {{NormalizerStep::Kind::kNfc}};
  std::vector<std::string> names = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  for (int32_t i = 0; i < kQwenExtras; ++i) {
    names.push_back("<|extra_" + std::to_string(i) + "|>");
  }
  for (size_t i = 0; i < names.size(); ++i) {
    OCTET_RETURN_IF_ERROR(AddSpecial(file, kQwenSpecialBegin + static_cast<int32_t>(i), names[i],
                                     /*normalized=*/true, definition));
  }
  definition->eos_id = kQwenSpecialBegin;
  return {};
}

// The special tokens of Llama-3.1, those of Llama-3 among them.
Status AddLlama3(const std::string& file, Definition* definition) {
  std::vector<std::string> names = {"<|begin_of_text|>",
                                    "<|end_of_text|>",
                                    "<|reserved_special_token_0|>",
                                    "<|reserved_special_token_1|>",
                                    "<|finetune_right_pad_id|>",
                                    "<|reserved_special_token_2|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|eom_id|>",
                                    "<|eot_id|>",
                                    "<|python_tag|>"};
  for (int32_t i = 3; names.size() < kLlama3Specials; ++i) {
    names.push_back("<|reserved_special_token_" + std::to_string(i) + "|>");
  }
  for (size_t i = 0; i < names.size(); ++i) {
    OCTET_RETURN_IF_ERROR(AddSpecial(file, kLlama3Ranks + static_cast<int32_t>(i), names[i],
                                     /*normalized=*/false, definition));
  }
  definition->bos_id = kLlama3Ranks;
  definition->eos_id = kLlama3Ranks + 1;
  definition->prefix_ids = {kLlama3Ranks};
  return {};
}

}  // namespace

bool LooksLikeTiktoken(std::string_view vocab) {
  while (!vocab.empty()) {
    const std::string_view text = TakeLine(&vocab);
    if (!text.empty()) return ReadLine(text).has_value();
  }
  return false;
}

Result<Definition> ParseTiktoken(const VocabFiles& files) {
  Definition definition;
  definition.bpe.ignore_merges = true;
  definition.decoder.added_as_written = true;
  OCTET_RETURN_IF_ERROR(ReadRanks(files, &definition));
  const bool is_qwen = files.name == kQwenFile;
  definition.steps.push_back(
      {PreTokenizerStep::Kind::kSplit, is_qwen ? kQwenPattern : kLlama3Pattern});
  const auto ranks = static_cast<int32_t>(definition.tokens.size());
  if (is_qwen) OCTET_RETURN_IF_ERROR(AddQwen(files.name, &definition));
  OCTET_RETURN_IF_ERROR(AddTokensOfFiles(files, &definition));
  if (ranks == kLlama3Ranks && definition.added_tokens.empty()) {
    OCTET_RETURN_IF_ERROR(AddLlama3(files.name, &definition));
  }
  if (files.config_json.empty()) return definition;
  OCTET_ASSIGN_OR_RETURN(const nlohmann::json document,
                         ParseJson(files.config_json, "tokenizer_config.json"));
  const JsonView config(document, "tokenizer_config.json:");
  OCTET_RETURN_IF_ERROR(ParseEnds(config, files.name, &definition));
  return definition;
}

}  // namespace octet::tokenizer
