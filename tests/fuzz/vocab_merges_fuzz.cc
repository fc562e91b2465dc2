// vocab.json and merges.txt from anyone. Input: a letter, vocab.json, and after a zero byte each
// merges.txt, tokenizer_config.json and added_tokens.json. Of the letters g says that config.json's
// model_type is gpt2, q qwen2, others that there is none.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "coordinator/tokenizer/vocab_files.h"
#include "tests/fuzz/tokenizer_checks.h"

namespace {

using octet::Result;
using octet::tokenizer::Tokenizer;

Result<Tokenizer> Load(std::string_view input, const std::string& model_type) {
  std::array<std::string_view, 4> parts;
  for (std::string_view& part : parts) {
    const size_t end = std::min(input.find('\0'), input.size());
    part = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
  }
  const auto& [vocab, merges, config, added] = parts;
  OCTET_ASSIGN_OR_RETURN(octet::tokenizer::Definition definition,
                         octet::tokenizer::ParseVocabAndMerges({"vocab.json", vocab, config, added},
                                                               merges, model_type));
  return Tokenizer::FromDefinition(std::move(definition));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const char* const model_type = input[0] == 'g' ? "gpt2" : input[0] == 'q' ? "qwen2" : "";
  octet::fuzz::CheckTokenizer(Load(input.substr(1), model_type));
  return 0;
}
