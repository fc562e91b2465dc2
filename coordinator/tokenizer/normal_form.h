// Unicode normalization forms C and KC. The character data and the composition are utf8proc's;
// putting combining marks into order is done here, because utf8proc sorts them by neighbour swaps,
// which is quadratic in the length of a run of marks, and a run is as long as whoever wrote the
// text likes.
#pragma once

#include <string>
#include <string_view>

namespace octet::tokenizer {

// kNfc is that of utf8proc's Unicode (15). The others are those of the Python package tokenizers,
// whose tables are of Unicode 9: what is newer neither changes nor moves, nor joins with anything.
enum class NormalForm { kNfc, kTokenizersNfc, kTokenizersNfkc };

// True when the text cannot change: no character below U+0300 takes part in a composition, none
// below U+00A0 has a compatibility decomposition.
bool IsTriviallyNormal(std::string_view text, NormalForm form);

// Whether the first character of `text` may change together with what stands before it: where it
// cannot, a text can be cut and its parts normalized for themselves. REQUIRES: valid UTF-8, not
// empty.
bool JoinsBackwards(std::string_view text, NormalForm form);

// REQUIRES: valid UTF-8. O(n log n) in the length of the longest run of marks, O(n) otherwise. A
// character becomes at most 18 (NFKC of U+FDFA), 33 bytes.
std::string ToNormalForm(std::string_view text, NormalForm form);

}  // namespace octet::tokenizer
