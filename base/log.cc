#include "base/log.h"

#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <string>

namespace octet {
namespace {

std::atomic<LogLevel> log_level{LogLevel::kInfo};

void WriteLine(std::string line) {
  line += '\n';
  // A closed or full standard error must not stop the service: what cannot be written is dropped.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
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

void PassLine(std::string_view source, std::string_view line) {
  WriteLine(std::string("[").append(source).append("] ").append(line));
}

}  // namespace octet
