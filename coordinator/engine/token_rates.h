// Tokens per second over the last seconds, from counters that only grow. Knows nothing of what is
// counted; the clock is passed in. Not thread-safe.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>

namespace octet::engine {

struct TokenCounts {
  int64_t prompt = 0;
  int64_t generated = 0;
};

class TokenRates {
 public:
  using Clock = std::function<std::chrono::steady_clock::time_point()>;

  explicit TokenRates(Clock clock) : clock_(std::move(clock)), begin_(clock_()) {}

  // The counters as they are now.
  void Observe(const TokenCounts& totals);

  struct Rates {
    double prompt_tokens_per_second = 0;
    double generated_tokens_per_second = 0;
    double seconds = 0;  // that these are over: fewer right after the start
  };
  Rates Over() const;

 private:
  // Of the current second and of the whole ones before it that the rates are over.
  static constexpr int64_t kSeconds = 10;
  static constexpr int64_t kParts = kSeconds + 1;
  struct Part {
    int64_t second = -1;
    TokenCounts counts;
  };

  int64_t SecondsSinceBegin() const;

  Clock clock_;
  std::chrono::steady_clock::time_point begin_;
  TokenCounts totals_;
  std::array<Part, kParts> parts_;  // by second modulo kParts
};

}  // namespace octet::engine
