// Unicode normalization form C. The character data and the composition are utf8proc's; putting
// combining marks into order is done here, because utf8proc sorts them by neighbour swaps, which is
// quadratic in the length of a run of marks, and a run is as long as whoever wrote the text likes.
#pragma once

#include <string>
#include <string_view>

namespace octet::tokenizer {

// True when the text cannot change: no character below U+0300 takes part in a composition.
bool IsTriviallyNfc(std::string_view text);

// REQUIRES: valid UTF-8. O(n log n) in the length of the longest run of marks, O(n) otherwise.
std::string ToNfc(std::string_view text);

}  // namespace octet::tokenizer
