// How long texts take that were made to take long, beside an ordinary one of the same size, and how
// that grows with the size from 256 KiB to 1 MiB (row F14 of the table of faults).
// Linear is 4.0 for the last column.
//
//   octet_tokenizer_bench MODEL_DIR|tokenizer.json...
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace octet {
namespace {

using tokenizer::Tokenizer;

constexpr size_t kSmallBytes = size_t{1} << 18;
constexpr size_t kPromptBytes = size_t{1} << 20;  // the limit on one prompt
constexpr int kRepeats = 3;

Tokenizer Load(const std::string& path) {
  struct stat info {};
  const bool is_folder = stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  std::ifstream file(path, std::ios::binary);
  auto made = is_folder
                  ? Tokenizer::Load(path)
                  : Tokenizer::FromJson(std::string(std::istreambuf_iterator<char>(file), {}));
  if (!made.ok()) CheckFailed(__FILE__, __LINE__, made.status().message());
  return std::move(*made);
}

std::string Repeated(const std::string& unit, size_t bytes) {
  std::string text;
  while (text.size() + unit.size() <= bytes) text += unit;
  return text;
}

// Letters at random, as one word.
std::string Word(size_t bytes) {
  std::mt19937 random(1);
  std::string text;
  while (text.size() < bytes) text += static_cast<char>('a' + random() % 26);
  return text;
}

std::string Ordinary(size_t bytes) {
  return Repeated(
      "In the beginning God created the heaven and the earth. And the earth was without form, and "
      "void; and darkness was upon the face of the deep, in 4004.\n",
      bytes);
}

double Milliseconds(const Tokenizer& tokenizer, const std::string& text, size_t* tokens) {
  double best = 1e9;
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const auto ids = tokenizer.Encode(text, true);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (!ids.ok()) CheckFailed(__FILE__, __LINE__, ids.status().message());
    *tokens = ids->size();
    best = std::min(best, took.count());
  }
  return best;
}

void Measure(const std::string& path) {
  const Tokenizer tokenizer = Load(path);
  std::printf(
      "\n%s, vocabulary %ld\n| 1 MiB of | tokens | ms | to ordinary | to 256 KiB |\n"
      "|---|---|---|---|---|\n",
      path.c_str(), static_cast<long>(tokenizer.vocab_size()));
  const std::pair<const char*, const char*> units[] = {
      {"a", "a"},
      {"spaces", " "},
      {"digits", "7"},
      {"line ends", "\n"},
      {"spaces and line ends", " \n"},
      {"combining marks", "\u0301"},
      {"combining marks out of order", "\u0301\u0323"},
      {"Han characters", "\u4ECA"},
      {"emoji", "\U0001F600"},
      {"apostrophes", "'"},
      {"beginnings of special tokens", "<|"}};
  size_t tokens = 0;
  const double ordinary = Milliseconds(tokenizer, Ordinary(kPromptBytes), &tokens);
  const auto row = [&](const char* name, const std::string& small, const std::string& text) {
    const double small_ms = Milliseconds(tokenizer, small, &tokens);
    const double ms = Milliseconds(tokenizer, text, &tokens);
    std::printf("| %s | %zu | %.1f | %.2f | %.2f |\n", name, tokens, ms, ms / ordinary,
                ms / small_ms);
    std::fflush(stdout);
  };
  row("an ordinary text", Ordinary(kSmallBytes), Ordinary(kPromptBytes));
  for (const auto& [name, unit] : units)
    row(name, Repeated(unit, kSmallBytes), Repeated(unit, kPromptBytes));
  row("one word of random letters", Word(kSmallBytes), Word(kPromptBytes));
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) octet::Measure(argv[i]);
  return argc > 1 ? 0 : 2;
}
