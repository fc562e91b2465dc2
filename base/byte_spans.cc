#include "base/byte_spans.h"

#include <algorithm>

#include "base/check.h"

namespace octet {

ByteSpans ByteSpans::Whole(size_t bytes) {
  ByteSpans whole;
  whole.Add(0, bytes);
  return whole;
}

void ByteSpans::Add(size_t begin, size_t end) {
  OCTET_CHECK_LE(begin, end);
  if (begin == end) return;
  if (!spans_.empty()) OCTET_CHECK_LE(spans_.back().end, begin);
  if (!spans_.empty() && spans_.back().end == begin) {
    spans_.back().end = end;
  } else {
    spans_.push_back({begin, end});
  }
}

void ByteSpans::Append(const ByteSpans& other, size_t offset) {
  for (const Span& span : other.spans_) Add(span.begin + offset, span.end + offset);
}

std::vector<ByteSpans::Span>::const_iterator ByteSpans::FirstBehind(size_t begin) const {
  return std::partition_point(spans_.begin(), spans_.end(),
                              [begin](const Span& span) { return span.end <= begin; });
}

ByteSpans ByteSpans::Within(size_t begin, size_t end) const {
  ByteSpans part;
  for (auto span = FirstBehind(begin); span != spans_.end() && span->begin < end; ++span) {
    part.Add(std::max(span->begin, begin) - begin, std::min(span->end, end) - begin);
  }
  return part;
}

bool ByteSpans::Touch(size_t begin, size_t end) const {
  const auto span = FirstBehind(begin);
  return begin < end && span != spans_.end() && span->begin < end;
}

}  // namespace octet
