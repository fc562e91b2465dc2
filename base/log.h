// Lines for the person who runs the service, on standard error: time, level, sentence. Any thread;
// a line is written with one call, so lines of threads and processes do not mix. Never called
// inside a forward step. A sentence says nothing of a request's text. A terminal may have a line of
// progress besides, which is drawn again in its place and always last.
#pragma once

#include <string_view>

namespace octet {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Lines below `level` are dropped. Default kInfo.
void SetLogLevel(LogLevel level);

void Log(LogLevel level, std::string_view sentence);

// True where progress can be shown: standard error is a terminal.
bool ProgressIsSeen();
// Draws `text` in the place of what was shown before, cut to the terminal's width; empty: nothing
// is left of it. A line that is logged takes its place too, until it is drawn again. Does nothing
// where it is not seen.
void ShowProgress(std::string_view text);
// For a process whose lines another one passes on: that one shows `text`.
void SendProgress(std::string_view text);
bool IsSentProgress(std::string_view line);

// A line that another process wrote, passed on as it is behind `[source] `, or shown where it is
// progress that was sent.
void PassLine(std::string_view source, std::string_view line);

}  // namespace octet
