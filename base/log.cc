#include "base/log.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <string>

namespace octet {
namespace {

std::atomic<LogLevel> log_level{LogLevel::kInfo};

constexpr char kProgressMark = '\r';      // begins a line of progress that is sent
constexpr char kErase[] = "\r\x1b[K";     // back to the line's begin, and away with all of it
constexpr int64_t kTerminalColumns = 80;  // where it does not say

std::mutex write_mutex;       // what is on the terminal's last line
bool progress_shown = false;  // guarded by it

constexpr int kWriteWaitMs = 20;  // for who reads standard error

// A closed or full standard error must not stop the service: what cannot be written is dropped.
void Write(const std::string& text) {
  pollfd fd = {STDERR_FILENO, POLLOUT, 0};
  if (poll(&fd, 1, kWriteWaitMs) != 1 || (fd.revents & POLLOUT) == 0) return;
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

void WriteLine(std::string line) {
  line += '\n';
  const std::lock_guard lock(write_mutex);
  if (progress_shown) line.insert(0, kErase);
  progress_shown = false;
  Write(line);
}

// A full last column would begin a new line.
size_t ProgressColumnsMax() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return (known ? size.ws_col : kTerminalColumns) - 1;
}

}  // namespace

void SetLogLevel(LogLevel level) { log_level = level; }

void Log(LogLevel level, std::string_view sentence) {
  if (level < log_level) return;
  constexpr const char* kNames[] = {"debug", "info", "warning", "error"};
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm local{};
  localtime_r(&now.tv_sec, &local);
  char head[48];
  std::snprintf(head, sizeof(head), "%02d:%02d:%02d.%03d %s: ", local.tm_hour, local.tm_min,
                local.tm_sec, static_cast<int>(now.tv_nsec / 1000000),
                kNames[static_cast<int>(level)]);
  WriteLine(std::string(head).append(sentence));
}

bool ProgressIsSeen() { return isatty(STDERR_FILENO) == 1; }

void ShowProgress(std::string_view text) {
  if (!ProgressIsSeen()) return;
  const std::lock_guard lock(write_mutex);
  if (text.empty() && !progress_shown) return;
  progress_shown = !text.empty();
  Write(std::string(kErase).append(text.substr(0, ProgressColumnsMax())));
}

void SendProgress(std::string_view text) { WriteLine(std::string(1, kProgressMark).append(text)); }

bool IsSentProgress(std::string_view line) {
  return !line.empty() && line.front() == kProgressMark;
}

void PassLine(std::string_view source, std::string_view line) {
  if (IsSentProgress(line)) return ShowProgress(line.substr(1));
  WriteLine(std::string("[").append(source).append("] ").append(line));
}

}  // namespace octet
