// Encodes and decodes what it reads, for compare_with_python.py.
//   tokenizer_ids MODEL_DIR   a JSON object a line in, {"text", "add", "parse"} or {"ids", "skip"};
//                             a line out for each, the ids or the text
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "coordinator/tokenizer/tokenizer.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL_DIR\n", argv[0]);
    return 2;
  }
  const auto tokenizer = octet::tokenizer::Tokenizer::Load(argv[1]);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().message().c_str());
    return 1;
  }
  std::chrono::steady_clock::duration spent{};
  for (std::string line; std::getline(std::cin, line);) {
    const auto job = nlohmann::json::parse(line);
    const auto start = std::chrono::steady_clock::now();
    nlohmann::json answer;
    if (job.contains("ids")) {
      answer = tokenizer->Decode(job["ids"].get<std::vector<int32_t>>(), job["skip"].get<bool>());
    } else {
      const auto ids =
          tokenizer->Encode(job["text"].get<std::string>(), job["add"].get<bool>(), job["parse"]);
      if (!ids.ok()) {
        std::fprintf(stderr, "%s\n", ids.status().message().c_str());
        return 1;
      }
      answer = *ids;
    }
    spent += std::chrono::steady_clock::now() - start;
    std::cout << answer.dump(-1, ' ', /*ensure_ascii=*/true) << '\n';
  }
  std::fprintf(stderr, "%.2f s in the tokenizer\n", std::chrono::duration<double>(spent).count());
  return 0;
}
