// Stop strings in a text that comes in pieces. What could be the beginning of a stop string is held
// back until that is decided, so that nothing of a stop is ever given out; each byte is looked at
// once per stop string, however long the text (Knuth, Morris, Pratt). Knows nothing of tokens.
//
// The stop is where the first occurrence ends; of those that end there, it is the longest. This
// does not depend on how the text was cut into pieces.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace octet::intake {

// The stop strings of one request, prepared. Immutable.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> texts);  // REQUIRES: none is empty

  size_t count() const { return texts_.size(); }
  const std::string& text(size_t index) const { return texts_[index]; }
  // How much of stop `index` the text ends with, after one more byte. REQUIRES: matched < its size.
  size_t Advance(size_t index, size_t matched, char byte) const;
  // The most that is matched still when all of it was.
  size_t AfterWhole(size_t index) const { return borders_[index].back(); }

 private:
  std::vector<std::string> texts_;
  // [texts][bytes of the text]: the longest proper prefix that also ends there.
  std::vector<std::vector<uint16_t>> borders_;
};

// One text against them. `stops` outlives it.
class StopFilter {
 public:
  explicit StopFilter(const StopStrings* stops) : stops_(stops), matched_(stops->count(), 0) {}

  struct Piece {
    std::string text;                   // can be given out
    const std::string* stop = nullptr;  // the text ends here, before this
  };
  // The text goes on with `text`. When `may_stop` is false stops that end in it are ordinary text.
  // After a stop nothing may be appended.
  Piece Append(std::string_view text, bool may_stop);
  // The text has ended: what was held back.
  std::string Finish();

  size_t held_bytes() const { return held_.size(); }  // less than the longest stop string

 private:
  // Of those that end with this byte, the longest; or null.
  const std::string* Advance(char byte);

  const StopStrings* stops_;
  std::vector<size_t> matched_;  // [stops] bytes of it that the text ends with
  std::string held_;
};

}  // namespace octet::intake
