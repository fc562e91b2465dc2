// strftime for strftime_now.
#include <cstdio>

#include "coordinator/chat/builtins.h"

namespace octet::chat {
namespace {

constexpr const char* kDays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                 "Thursday", "Friday", "Saturday"};
constexpr const char* kMonths[] = {"January",   "February", "March",    "April",
                                   "May",       "June",     "July",     "August",
                                   "September", "October",  "November", "December"};

// `padded` false: %-d, without the leading zero.
std::string Number(int value, int digits, bool padded) {
  char text[16];
  std::snprintf(text, sizeof text, "%0*d", padded ? digits : 1, value);
  return text;
}

std::string Field(char letter, bool padded, const std::tm& time) {
  // A broken-down time comes from outside; its fields index tables.
  const std::string day = kDays[((time.tm_wday % 7) + 7) % 7];
  const std::string month = kMonths[((time.tm_mon % 12) + 12) % 12];
  const int hour12 = time.tm_hour % 12 == 0 ? 12 : time.tm_hour % 12;
  switch (letter) {
    case 'a':
      return day.substr(0, 3);
    case 'A':
      return day;
    case 'b':
      return month.substr(0, 3);
    case 'B':
      return month;
    case 'd':
      return Number(time.tm_mday, 2, padded);
    case 'm':
      return Number(time.tm_mon + 1, 2, padded);
    case 'y':
      return Number(time.tm_year % 100, 2, padded);
    case 'Y':
      return std::to_string(time.tm_year + 1900);
    case 'H':
      return Number(time.tm_hour, 2, padded);
    case 'I':
      return Number(hour12, 2, padded);
    case 'M':
      return Number(time.tm_min, 2, padded);
    case 'S':
      return Number(time.tm_sec, 2, padded);
    case 'j':
      return Number(time.tm_yday + 1, 3, padded);
    case 'p':
      return time.tm_hour < 12 ? "AM" : "PM";
    case 'F':
      return FormatTime("%Y-%m-%d", time);
    case 'T':
      return FormatTime("%H:%M:%S", time);
    case 'D':
      return FormatTime("%m/%d/%y", time);
    case 'z':
    case 'Z':
      return "";
    case '%':
      return "%";
    default:
      RefuseUnsupported(std::string("strftime_now with %") + letter + " is not supported");
  }
}

}  // namespace

std::string FormatTime(std::string_view format, const std::tm& time) {
  constexpr size_t kFormatBytesMax = 1024;
  if (format.size() > kFormatBytesMax) {
    RefuseTooMuch("the format of strftime_now is too long", kFormatBytesMax);
  }
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out.push_back(format[i]);
      continue;
    }
    const bool padded = i + 1 >= format.size() || format[i + 1] != '-';
    if (!padded) ++i;
    if (++i >= format.size()) Refuse("the format of strftime_now ends in %");
    out += Field(format[i], padded, time);
  }
  return out;
}

}  // namespace octet::chat
