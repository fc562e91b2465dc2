// A .tiktoken from anyone. Input: a letter, lines, and after a zero byte tokenizer_config.json. Of
// the letters w takes the lines as the whole file; b and q put a line for each byte in front, which
// every such file needs, and q calls the file qwen.tiktoken.
#include <cstdint>
#include <string>
#include <string_view>

#include "coordinator/tokenizer/vocab_files.h"
#include "tests/fuzz/tokenizer_checks.h"

namespace {

// The byte n has the rank n.
std::string MakeByteLines() {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string lines;
  for (int byte = 0; byte < 256; ++byte) {
    lines += kAlphabet[byte >> 2];
    lines += kAlphabet[(byte & 3) << 4];
    lines += "== " + std::to_string(byte) + "\n";
  }
  return lines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string byte_lines = MakeByteLines();
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const char letter = input[0];
  input.remove_prefix(1);
  const size_t cut = input.find('\0');
  std::string lines = letter == 'w' ? std::string() : byte_lines;
  lines += input.substr(0, cut);
  const std::string_view config =
      cut == std::string_view::npos ? std::string_view() : input.substr(cut + 1);
  const octet::tokenizer::VocabFiles files{
      letter == 'q' ? "qwen.tiktoken" : "x.tiktoken", lines, config, {}};
  octet::fuzz::CheckTokenizer(octet::tokenizer::Tokenizer::FromTiktoken(files));
  return 0;
}
