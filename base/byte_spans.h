// Ranges of the bytes of a text that have something in common: for example, those that somebody
// else wrote. A plain value.
#pragma once

#include <cstddef>
#include <vector>

namespace octet {

class ByteSpans {
 public:
  struct Span {
    size_t begin = 0;
    size_t end = 0;
    bool operator==(const Span&) const = default;
  };

  ByteSpans() = default;  // none
  static ByteSpans Whole(size_t bytes);

  bool empty() const { return spans_.empty(); }
  // In order, not empty, and none begins where another ends.
  const std::vector<Span>& spans() const { return spans_; }

  // Nothing when the range is empty. REQUIRES: begin <= end, and no span ends behind `begin`.
  void Add(size_t begin, size_t end);
  // The spans of a text that now begins at `offset`. REQUIRES: no span ends behind `offset`.
  void Append(const ByteSpans& other, size_t offset);
  // Of the bytes from `begin` to `end`, counted from `begin`. O(log spans + what it gives).
  ByteSpans Within(size_t begin, size_t end) const;
  // Whether a byte from `begin` to `end` is in a span. O(log spans).
  bool Touch(size_t begin, size_t end) const;

  bool operator==(const ByteSpans&) const = default;

 private:
  // The first span that ends behind `begin`.
  std::vector<Span>::const_iterator FirstBehind(size_t begin) const;

  std::vector<Span> spans_;
};

}  // namespace octet
