// Stop strings against the plainest reference there is: look for every stop at every place.
#include "coordinator/intake/stop_filter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/coordinator/intake/sink.h"
#include "tests/coordinator/support/tiny_model.h"

namespace octet::intake {
namespace {

struct Cut {
  std::string text;
  std::string stop;  // empty: none
};

// The text up to the stop whose end comes first, of those with that end the longest, among the ends
// from `from_bytes` on.
Cut CutAtEarliest(const std::string& text, const std::vector<std::string>& stops,
                  size_t from_bytes) {
  for (size_t end = from_bytes; end <= text.size(); ++end) {
    std::string found;
    for (const std::string& stop : stops) {
      const bool ends_here =
          end >= stop.size() && text.compare(end - stop.size(), stop.size(), stop) == 0;
      if (ends_here && stop.size() > found.size()) found = stop;
    }
    if (!found.empty()) return {text.substr(0, end - found.size()), found};
  }
  return {text, ""};
}

size_t LongestOf(const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops) longest = std::max(longest, stop.size());
  return longest;
}

// Few letters, one of two bytes, so that stops overlap with the text, themselves and one another.
std::string RandomText(std::mt19937* random, size_t characters_max) {
  const std::string letters[] = {"a", "b", "\xc3\xa9", "\xf0\x9f\x98\x80"};
  std::string text;
  for (size_t n = 1 + (*random)() % characters_max; n > 0; --n)
    text += letters[std::min<size_t>((*random)() % 6, 3)];
  return text;
}

std::vector<std::string> RandomStops(std::mt19937* random) {
  std::vector<std::string> stops;
  for (size_t n = (*random)() % 5; n > 0; --n) stops.push_back(RandomText(random, 6));
  return stops;
}

TEST(StopFilter, GivesTheTextUpToTheEarliestStopHoweverItIsCut) {
  std::mt19937 random(1);
  for (int round = 0; round < 5000; ++round) {
    const std::vector<std::string> stops = RandomStops(&random);
    const StopStrings prepared(stops);
    const std::string text = RandomText(&random, 40);
    const Cut expected = CutAtEarliest(text, stops, 1);
    StopFilter filter(&prepared);
    std::string sent;
    const std::string* stop = nullptr;
    for (size_t at = 0; at < text.size() && stop == nullptr;) {
      const size_t bytes = std::min<size_t>(random() % 8, text.size() - at);
      const StopFilter::Piece piece = filter.Append(text.substr(at, bytes), /*may_stop=*/true);
      at += bytes;
      sent += piece.text;
      stop = piece.stop;
      ASSERT_EQ(sent, expected.text.substr(0, sent.size())) << "sent past the stop";
      if (stop == nullptr) {
        ASSERT_EQ(sent.size() + filter.held_bytes(), at);
        ASSERT_LT(filter.held_bytes(), std::max<size_t>(LongestOf(stops), 1));
      }
    }
    sent += filter.Finish();
    ASSERT_EQ(sent, expected.text) << "round " << round;
    ASSERT_EQ(stop == nullptr ? "" : *stop, expected.stop) << "round " << round;
  }
}

// The same through an answer: tokens are bytes, so characters are split over them; the cut between
// tokens that may stop and those that may not is where min_tokens says.
TEST(StopFilter, AnAnswerSendsTheTextUpToTheEarliestStop) {
  const tokenizer::Tokenizer tokenizer = fakes::TinyTokenizer();
  std::mt19937 random(2);
  for (int round = 0; round < 1500; ++round) {
    const std::vector<std::string> stops = RandomStops(&random);
    const std::string text = RandomText(&random, 30);
    const std::vector<int32_t> tokens = fakes::BytesAsTokens(text);
    const auto min_tokens = static_cast<int64_t>(random() % 20);
    const bool include = random() % 2 == 0;
    const Cut expected = CutAtEarliest(text, stops, static_cast<size_t>(min_tokens));
    const size_t end =
        expected.stop.empty() ? text.size() : expected.text.size() + expected.stop.size();
    const std::string whole = expected.text + (include ? expected.stop : "");

    std::atomic<int64_t> places{1};
    KeepingSink sink;
    Answer answer(&sink, Place(&places), &tokenizer, true, {},
                  {.stop = stops, .include_stop_text = include, .min_tokens = min_tokens});
    answer.Accept();
    for (size_t i = 0; i < tokens.size() && !sink.has_ended; ++i) {
      const bool last = i + 1 == tokens.size();
      answer.Take(0, {.token = tokens[i],
                      .position = static_cast<int64_t>(i),
                      .finished = last,
                      .reason = schedule::FinishReason::kLength});
      ASSERT_EQ(sink.text, whole.substr(0, sink.text.size())) << "sent past the stop";
      // What is held back: less than the longest stop, and an unfinished character of 4 bytes.
      if (!sink.has_ended) {
        ASSERT_LE(i + 1 - sink.text.size(), std::max<size_t>(LongestOf(stops), 1) - 1 + 3);
      }
    }
    ASSERT_TRUE(sink.has_ended);
    ASSERT_EQ(sink.text, whole) << "round " << round;
    ASSERT_EQ(sink.end.stop_string.value_or(""), expected.stop) << "round " << round;
    ASSERT_EQ(sink.tokens.size(), end);
    ASSERT_EQ(sink.end.completion_tokens, static_cast<int64_t>(end));
  }
}

TEST(StopFilter, AnOverlapWithAnIgnoredStopIsStillFound) {
  const StopStrings stops({"aa"});
  StopFilter filter(&stops);
  EXPECT_EQ(filter.Append("xaa", /*may_stop=*/false).text, "xa");
  const StopFilter::Piece piece = filter.Append("ab", /*may_stop=*/true);
  EXPECT_EQ(piece.text, "");
  ASSERT_NE(piece.stop, nullptr);
}

TEST(StopFilter, TheWorstTextTakesTimeLinearInItsBytes) {
  // Quadratic matching would take minutes here.
  std::vector<std::string> texts;
  for (size_t bytes = 241; bytes <= 256; ++bytes)
    texts.push_back(std::string(bytes - 1, 'a') + "b");
  const StopStrings stops(texts);
  StopFilter filter(&stops);
  const std::string text(1 << 20, 'a');
  size_t sent = 0;
  for (const char byte : text) sent += filter.Append({&byte, 1}, true).text.size();
  EXPECT_EQ(sent, text.size() - 255);
}

}  // namespace
}  // namespace octet::intake
