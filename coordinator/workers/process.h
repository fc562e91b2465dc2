// One child process and all it starts: in a process group of its own, with its output passed on
// line by line, ended when its parent thread ends. Two threads watch it, one for its output and one
// for its exit. Knows nothing of what it runs.
#pragma once

#include <sys/types.h>

#include <array>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"

namespace octet::workers {

inline constexpr size_t kOutputLineBytesMax = 4096;  // the rest of a longer line begins a new one
inline constexpr size_t kOutputLinesKept = 40;  // mpirun's account of a death takes half of them

struct ProcessOptions {
  std::vector<std::string> arguments;    // the first is the program, looked up in PATH
  std::vector<std::string> environment;  // "NAME=value", on top of our own
  std::string output_source;             // what its lines are passed on as
  // Called with each line, from the thread that reads them; may be null.
  std::function<void(const std::string&)> on_line;
};

// Both ends of a pipe, closed with the object and when a program is started.
class Pipe {
 public:
  Pipe() = default;
  ~Pipe();
  Pipe(Pipe&& other) noexcept : ends_(std::exchange(other.ends_, {-1, -1})) {}
  Pipe& operator=(Pipe&&) = delete;

  bool Make();  // false: errno says why not
  int out() const { return ends_[0]; }
  int in() const { return ends_[1]; }
  void CloseIn();

 private:
  std::array<int, 2> ends_ = {-1, -1};
};

class Process {
 public:
  // `on_exit` is called once, from the watching thread. The kernel sends SIGTERM to the process
  // when the calling thread ends, so that thread must live as long as the process is wanted.
  static Result<std::unique_ptr<Process>> Start(const ProcessOptions& options,
                                                std::function<void()> on_exit);
  // Kills what still runs of the group, and waits.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void SignalGroup(int signal);  // no-op once the process has exited
  bool WaitExit(double seconds_max);
  // "ran on", "exited with code 3", "was ended by signal 9 (Killed)".
  std::string DescribeExit() const;
  std::vector<std::string> LastLines() const;  // at most kOutputLinesKept, oldest first

 private:
  Process(pid_t pid, Pipe output, Pipe output_end, const ProcessOptions& options,
          std::function<void()> on_exit);
  void WatchExit();
  void PassOutput();
  void PassLines(std::string* text);
  void KeepLine(std::string line);

  const pid_t pid_;
  const Pipe output_;
  Pipe output_end_;  // its in end closed, the output thread reads no further
  const std::string source_;
  const std::function<void(const std::string&)> on_line_;
  const std::function<void()> on_exit_;

  mutable std::mutex mutex_;
  std::condition_variable exited_;
  std::optional<int> wait_status_;
  std::deque<std::string> lines_;

  std::thread exit_thread_;
  std::thread output_thread_;
};

// "code 137 (a process it ran was ended by signal 9, Killed)".
std::string DescribeWaitStatus(int wait_status);

}  // namespace octet::workers
