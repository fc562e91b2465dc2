// tokenizer.model of sentencepiece from anyone. Input: the length of a tokenizer_config.json in two
// bytes (little-endian), that file, then the model.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "coordinator/tokenizer/vocab_files.h"
#include "tests/fuzz/tokenizer_checks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t config_bytes = std::min<size_t>(data[0] + (size_t{data[1]} << 8), size - 2);
  const octet::tokenizer::VocabFiles files{
      "tokenizer.model", input.substr(2 + config_bytes), input.substr(2, config_bytes), {}};
  octet::fuzz::CheckTokenizer(octet::tokenizer::Tokenizer::FromSentencePiece(files));
  return 0;
}
