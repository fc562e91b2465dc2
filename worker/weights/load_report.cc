#include "worker/weights/load_report.h"

#include <cmath>
#include <cstdio>

namespace octet::worker {
namespace {

constexpr double kGigabyte = 1e9;

std::string Bar(double fraction) {
  constexpr int kCells = 10;
  const auto full = static_cast<int>(fraction * kCells);
  return "[" + std::string(full, '#') + std::string(kCells - full, '-') + "]";
}

}  // namespace

// ", 0.53 GB/s, 1 s left"
std::string LoadReport::Speed(double fraction, double now_seconds) const {
  constexpr double kMinutesFrom = 120;  // seconds
  const double share_per_second = (fraction - start_->fraction) / (now_seconds - start_->seconds);
  if (!(share_per_second > 0)) return "";
  const double left = (1 - fraction) / share_per_second;
  const bool minutes = left >= kMinutesFrom;
  char text[64];
  std::snprintf(text, sizeof text, ", %.2f GB/s, %.0f %s left",
                share_per_second * bytes_ / kGigabyte, std::ceil(minutes ? left / 60 : left),
                minutes ? "min" : "s");
  return text;
}

std::optional<std::string> LoadReport::At(double fraction, double now_seconds) {
  const bool bar = form_ == Form::kBar;
  if (fraction >= 1) return bar ? std::optional<std::string>("") : std::nullopt;
  if (fraction > 0 && now_seconds - said_seconds_ < (bar ? kBarSeconds : kSentenceSeconds)) {
    if (!start_.has_value()) start_ = {fraction, now_seconds};
    return std::nullopt;
  }
  said_seconds_ = now_seconds;
  std::string text = "loading weights" + (bar ? " " + Bar(fraction) : ":");
  char share[96];
  std::snprintf(share, sizeof share, " %d %%, %.2f of %.2f GB", static_cast<int>(fraction * 100),
                fraction * bytes_ / kGigabyte, bytes_ / kGigabyte);
  text += share;
  if (start_.has_value()) return text + Speed(fraction, now_seconds);
  if (fraction > 0) start_ = {fraction, now_seconds};
  return text;
}

}  // namespace octet::worker
