// Lines for the person who runs the service, on standard error: time, level, sentence. Any thread;
// a line is written with one call, so lines of threads and processes do not mix. Never called
// inside a forward step. A sentence says nothing of a request's text.
#pragma once

#include <string_view>

namespace octet {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Lines below `level` are dropped. Default kInfo.
void SetLogLevel(LogLevel level);

void Log(LogLevel level, std::string_view sentence);

// A line that another process wrote, passed on as it is behind `[source] `.
void PassLine(std::string_view source, std::string_view line);

}  // namespace octet
