// Texts that make a careless tokenizer quadratic. The bound is generous, because a machine may be
// busy or run a sanitizer: 1 MB takes a tenth of a second, a quadratic step many minutes.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "coordinator/tokenizer/limits.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "tests/coordinator/tokenizer/goldens.h"
#include "tests/support/fault_table.h"

namespace octet::tokenizer {
namespace {

constexpr double kSecondsMax = 20;

std::string Repeated(std::string_view unit, size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text;
}

TEST(Bounds, OneMegabyteOfOneThingIsEncodedInTime) {
  const char* units[] = {
      "a",      " ",     "\n", " \n", "\u0301", "\u0323\u0301", "ab",   "\u0345\u0301\u0323",
      "\u4ECA", "0",     "!",  "'",   "<|",     "\U0001F600",   "the ", "<mask> ",
      "\t\r",   "\u1100"};
  std::map<std::string, double> slowest;  // of the tokenizers, by the unit
  for (const char* name : {"gpt2", "llama3", "qwen2", "flags", "llama2", "metaspace", "sp_rules"}) {
    const Tokenizer tokenizer = LoadGolden(name);
    for (const char* unit : units) {
      for (const char* end : {"", "x"}) {
        const std::string text = Repeated(unit, 1 << 20) + end;
        const auto start = std::chrono::steady_clock::now();
        const auto ids = tokenizer.Encode(text, true);
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
        ASSERT_TRUE(ids.ok()) << ids.status().message();
        slowest[unit] = std::max(slowest[unit], seconds.count());
        EXPECT_LT(seconds.count(), kSecondsMax) << name << " " << unit;
        if (std::string(name) == "gpt2" || std::string(name) == "llama3") {
          EXPECT_EQ(tokenizer.Decode(*ids, true), text) << name << " " << unit;
        }
      }
    }
  }
  for (const auto& [unit, seconds] : slowest)
    testing::FaultSeen("F14", "1 MiB of " + nlohmann::json(unit).dump(-1, ' ', true),
                       "tokenized in " + std::to_string(static_cast<int>(seconds * 1000)) +
                           " ms by the slowest of seven tokenizers");
}

TEST(Bounds, TheLongestTextIsEncodedAndALongerOneRefused) {
  const Tokenizer tokenizer = LoadGolden("qwen2");
  const std::string longest(kEncodeBytesMax, 'a');
  EXPECT_TRUE(tokenizer.Encode(longest, false).ok());
  const auto ids = tokenizer.Encode(longest + "a", false);
  EXPECT_EQ(ids.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(ids.status().message(), "text: 16777217 bytes, the limit is 16777216");
}

TEST(Bounds, ManyThreadsUseOneTokenizer) {
  const Tokenizer tokenizer = LoadGolden("llama3");
  const auto texts = nlohmann::json::parse(ReadGolden("texts.json"));
  std::vector<std::vector<int32_t>> expected;
  for (const auto& text : texts) {
    expected.push_back(*tokenizer.Encode(text.get<std::string>(), true));
  }
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < texts.size(); ++i) {
        const size_t at = (i + t * 50) % texts.size();
        const auto ids = tokenizer.Encode(texts[at].get<std::string>(), true);
        if (!ids.ok() || *ids != expected[at]) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace octet::tokenizer
