// What a person sees while weights are loaded: a bar that is drawn again several times a second, or
// a sentence every few seconds where nobody looks at a terminal. Knows what to say and when, not
// how to show it; the time is passed in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace octet::worker {

inline constexpr double kBarSeconds = 0.2;
inline constexpr double kSentenceSeconds = 5.0;

// Of one rank. One thread at a time.
class LoadReport {
 public:
  enum class Form { kBar, kSentence };
  // `bytes` is what the rank's weights take.
  LoadReport(Form form, int64_t bytes) : form_(form), bytes_(static_cast<double>(bytes)) {}

  // Nothing where the last one was a moment ago. `fraction` 0 is said at once, and that there is
  // still no speed: memory may have to be found first. At 1 a bar is empty: what was drawn has to
  // go; and there is no sentence, for others say that weights are there. `now_seconds` is any
  // clock's.
  std::optional<std::string> At(double fraction, double now_seconds);

 private:
  // Where the speed is counted from: what was first loaded.
  struct Start {
    double fraction;
    double seconds;
  };
  std::string Speed(double fraction, double now_seconds) const;

  const Form form_;
  const double bytes_;
  std::optional<Start> start_;
  double said_seconds_ = 0;
};

}  // namespace octet::worker
