#include "base/byte_spans.h"

#include <gtest/gtest.h>

namespace octet {
namespace {

using Spans = std::vector<ByteSpans::Span>;

TEST(ByteSpans, TouchingOnesBecomeOneAndEmptyOnesNone) {
  ByteSpans spans;
  spans.Add(1, 1);
  EXPECT_TRUE(spans.empty());
  spans.Add(1, 3);
  spans.Add(3, 4);
  spans.Add(6, 9);
  EXPECT_EQ(spans.spans(), (Spans{{1, 4}, {6, 9}}));
  EXPECT_TRUE(ByteSpans::Whole(0).empty());
  EXPECT_EQ(ByteSpans::Whole(5).spans(), (Spans{{0, 5}}));
}

// Against one bit per byte, for all ranges of a text.
TEST(ByteSpans, PartsAreThoseOfItsBytes) {
  const std::string marks = "..xxx.x..xx.";
  const auto spans_of = [](std::string_view text) {
    ByteSpans spans;
    for (size_t i = 0; i < text.size(); ++i)
      if (text[i] == 'x') spans.Add(i, i + 1);
    return spans;
  };
  const ByteSpans spans = spans_of(marks);
  for (size_t begin = 0; begin <= marks.size(); ++begin) {
    for (size_t end = begin; end <= marks.size(); ++end) {
      const std::string part = marks.substr(begin, end - begin);
      EXPECT_EQ(spans.Within(begin, end), spans_of(part)) << begin << " " << end;
      EXPECT_EQ(spans.Touch(begin, end), part.find('x') != std::string::npos);
      ByteSpans both = spans;
      both.Append(spans_of(part), marks.size());
      EXPECT_EQ(both, spans_of(marks + part));
    }
  }
}

}  // namespace
}  // namespace octet
