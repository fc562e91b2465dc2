#include "coordinator/engine/token_rates.h"

#include <algorithm>

namespace octet::engine {

int64_t TokenRates::SecondsSinceBegin() const {
  return std::chrono::duration_cast<std::chrono::seconds>(clock_() - begin_).count();
}

void TokenRates::Observe(const TokenCounts& totals) {
  const int64_t second = SecondsSinceBegin();
  Part& part = parts_[second % kParts];
  if (part.second != second) part = {second, {}};
  part.counts.prompt += totals.prompt - totals_.prompt;
  part.counts.generated += totals.generated - totals_.generated;
  totals_ = totals;
}

TokenRates::Rates TokenRates::Over() const {
  const std::chrono::duration<double> elapsed = clock_() - begin_;
  const int64_t second = SecondsSinceBegin();
  TokenCounts sum;
  for (const Part& part : parts_) {
    if (part.second < 0 || part.second + kSeconds < second) continue;
    sum.prompt += part.counts.prompt;
    sum.generated += part.counts.generated;
  }
  Rates rates;
  const int64_t first_second = std::max<int64_t>(0, second - kSeconds);
  rates.seconds = elapsed.count() - static_cast<double>(first_second);
  // Before a second has passed a rate says nothing but how short the time was.
  const double over = std::max(rates.seconds, 1.0);
  rates.prompt_tokens_per_second = static_cast<double>(sum.prompt) / over;
  rates.generated_tokens_per_second = static_cast<double>(sum.generated) / over;
  return rates;
}

}  // namespace octet::engine
