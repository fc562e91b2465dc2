#include "worker/weights/load_report.h"

#include <gtest/gtest.h>

namespace octet::worker {
namespace {

using Form = LoadReport::Form;
constexpr int64_t kBytes = 40'000'000'000;

TEST(LoadReport, ASentenceEveryFewSeconds) {
  LoadReport report(Form::kSentence, kBytes);
  EXPECT_EQ(report.At(0.0, 100.0), "loading weights: 0 %, 0.00 of 40.00 GB");
  EXPECT_FALSE(report.At(0.1, 104.9).has_value());  // the speed counts from here
  EXPECT_FALSE(report.At(0.1, 104.95).has_value());
  EXPECT_EQ(report.At(0.2, 114.9), "loading weights: 20 %, 8.00 of 40.00 GB, 0.40 GB/s, 80 s left");
  EXPECT_FALSE(report.At(0.25, 119.0).has_value());
  EXPECT_EQ(report.At(0.5, 144.9),
            "loading weights: 50 %, 20.00 of 40.00 GB, 0.40 GB/s, 50 s left");
  EXPECT_FALSE(report.At(1.0, 190.0).has_value());
}

TEST(LoadReport, ABarIsDrawnAgainAndGoesAtTheEnd) {
  LoadReport report(Form::kBar, kBytes);
  EXPECT_EQ(report.At(0.0, 5.0), "loading weights [----------] 0 %, 0.00 of 40.00 GB");
  // Memory took ten seconds to find.
  EXPECT_EQ(report.At(0.001, 15.0), "loading weights [----------] 0 %, 0.04 of 40.00 GB");
  EXPECT_EQ(report.At(0.251, 25.0),
            "loading weights [##--------] 25 %, 10.04 of 40.00 GB, 1.00 GB/s, 30 s left");
  EXPECT_FALSE(report.At(0.26, 25.1).has_value());
  EXPECT_EQ(report.At(0.999, 25.3),
            "loading weights [#########-] 99 %, 39.96 of 40.00 GB, 3.88 GB/s, 1 s left");
  EXPECT_EQ(report.At(1.0, 25.31), "");
}

TEST(LoadReport, SaysMinutesOfWhatTakesLongAndFitsATerminal) {
  LoadReport report(Form::kBar, int64_t{140} * 1'000'000'000);
  report.At(0.0, 0.0);
  report.At(0.0001, 1.0);
  const std::optional<std::string> text = report.At(0.9, 91.0);
  EXPECT_EQ(text, "loading weights [#########-] 90 %, 126.00 of 140.00 GB, 1.40 GB/s, 11 s left");
  EXPECT_LT(text->size(), 80u);
  LoadReport slow(Form::kSentence, kBytes);
  slow.At(0.0, 0.0);
  slow.At(0.01, 1.0);
  EXPECT_EQ(slow.At(0.02, 11.0), "loading weights: 2 %, 0.80 of 40.00 GB, 0.04 GB/s, 17 min left");
}

TEST(LoadReport, StandsStillWithoutASpeed) {
  LoadReport report(Form::kSentence, kBytes);
  report.At(0.0, 0.0);
  report.At(0.25, 1.0);
  EXPECT_EQ(report.At(0.25, 6.0), "loading weights: 25 %, 10.00 of 40.00 GB");
}

}  // namespace
}  // namespace octet::worker
