// A program under test: its own process, its output as text, waits that end.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace octet::fakes {

// Whether the process runs. One that is dead and was not reaped by its parent or init does not.
bool IsAlive(pid_t pid);

class Program {
 public:
  // `environment` is put on top of ours.
  Program(std::vector<std::string> arguments, std::vector<std::string> environment);
  ~Program();  // SIGKILL
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal);
  // The exit code, -signal, or -1000 when it still runs.
  int WaitExitCode(double seconds_max);
  // The first line that holds `part`, or "" when none came in time or the program has ended.
  std::string WaitLine(const std::string& part, double seconds_max);
  std::string output() const;  // both streams

 private:
  void Read();

  pid_t pid_ = -1;
  int output_fd_ = -1;
  bool reaped_ = false;
  int exit_code_ = -1000;
  mutable std::mutex mutex_;
  std::condition_variable more_;
  std::string output_;
  bool output_ended_ = false;
  std::thread reader_;
};

}  // namespace octet::fakes
