#include "tests/coordinator/support/tiny_model.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "coordinator/tokenizer/byte_alphabet.h"
#include "coordinator/tokenizer/utf8.h"

namespace octet::fakes {

std::string TinyTokenizerJson() {
  nlohmann::json vocab = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string spelling;
    tokenizer::AppendCodePoint(tokenizer::SpellingOfByte(static_cast<uint8_t>(byte)), &spelling);
    vocab[spelling] = byte;
  }
  nlohmann::json root;
  root["model"] = {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}};
  root["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  root["decoder"] = {{"type", "ByteLevel"}};
  root["added_tokens"] = {{{"id", 256},
                           {"content", "<|end|>"},
                           {"single_word", false},
                           {"lstrip", false},
                           {"rstrip", false},
                           {"normalized", false},
                           {"special", true}}};
  return root.dump();
}

tokenizer::Tokenizer TinyTokenizer() {
  auto tokenizer = tokenizer::Tokenizer::FromJson(TinyTokenizerJson());
  if (!tokenizer.ok()) CheckFailed(__FILE__, __LINE__, tokenizer.status().message());
  return std::move(*tokenizer);
}

std::vector<int32_t> BytesAsTokens(std::string_view text) {
  std::vector<int32_t> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

TinyModel::TinyModel() { std::ofstream(path() + "/tokenizer.json") << TinyTokenizerJson(); }

}  // namespace octet::fakes
