// A row of logits with what a choice must pass over, and ties.
#pragma once

#include <limits>
#include <vector>

#include "tests/kernels/random.h"

namespace octet::kernels::test {

inline std::vector<float> AwkwardLogits(int64_t tokens, uint32_t seed) {
  std::vector<float> logits = Normal(tokens, seed, 0, 3);
  for (size_t i = 0; i < logits.size(); i += 97)
    logits[i] = -std::numeric_limits<float>::infinity();
  for (size_t i = 5; i < logits.size(); i += 101) logits[i] = std::nanf("");
  for (size_t i = 11; i < logits.size(); i += 64) logits[i] = 7.5f;  // ties
  return logits;
}

}  // namespace octet::kernels::test
