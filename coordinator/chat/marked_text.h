// A text that remembers which of its bytes came with a request. Whoever makes a prompt's tokens
// needs to know: those bytes never spell a control token, whatever a user writes.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/byte_spans.h"

namespace octet::chat {

struct MarkedText {
  std::string text;
  ByteSpans given;  // bytes of the request; the others are the template's and the model's

  // A text made of `from` in a way that leaves no byte where it was: given as a whole if any byte
  // of `from` was.
  static MarkedText Derived(std::string text, const MarkedText& from) {
    const size_t bytes = from.given.empty() ? 0 : text.size();
    return {std::move(text), ByteSpans::Whole(bytes)};
  }

  void Append(std::string_view not_given) { text += not_given; }
  void Append(const MarkedText& other) {
    given.Append(other.given, text.size());
    text += other.text;
  }
  MarkedText Part(size_t begin, size_t end) const {
    return {text.substr(begin, end - begin), given.Within(begin, end)};
  }
  // REQUIRES: `piece` lies in `text`, or is empty.
  MarkedText Part(std::string_view piece) const {
    if (piece.empty()) return {};
    const auto begin = static_cast<size_t>(piece.data() - text.data());
    return Part(begin, begin + piece.size());
  }
  // What a rendering pays for it.
  int64_t cost_bytes() const {
    return static_cast<int64_t>(text.size() + given.spans().size() * sizeof(ByteSpans::Span));
  }
};

}  // namespace octet::chat
