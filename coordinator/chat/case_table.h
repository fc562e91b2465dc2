// The case of characters beyond ASCII.
#pragma once

#include <cstdint>
#include <vector>

namespace octet::chat {

// first, first + stride, ..., last become themselves + delta. Sorted by `first`.
struct CaseRange {
  char32_t first;
  char32_t last;
  uint32_t stride;
  int32_t delta;
};
extern const std::vector<CaseRange> kUpperRanges;
extern const std::vector<CaseRange> kLowerRanges;
// Characters whose upper case has several, sorted.
extern const std::vector<char32_t> kUpperToSeveral;

}  // namespace octet::chat
