#include "coordinator/tokenizer/byte_alphabet.h"
#include "coordinator/tokenizer/utf8.h"
#include "tests/coordinator/tokenizer/goldens.h"

namespace octet::tokenizer {

nlohmann::json SmallTokenizerJson() {
  nlohmann::json vocab = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string spelling;
    AppendCodePoint(SpellingOfByte(static_cast<uint8_t>(byte)), &spelling);
    vocab[spelling] = byte;
  }
  vocab["ab"] = 256;
  nlohmann::json root;
  root["model"] = {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b"}}};
  root["added_tokens"] = {{{"id", 257}, {"content", "<|end|>"}, {"special", true}}};
  root["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  root["decoder"] = {{"type", "ByteLevel"}};
  return root;
}

}  // namespace octet::tokenizer
