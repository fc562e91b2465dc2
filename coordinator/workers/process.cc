#include "coordinator/workers/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "base/check.h"
#include "base/log.h"

namespace octet::workers {
namespace {

std::string SignalName(int signal) {
  const char* name = sigdescr_np(signal);
  return std::to_string(signal) + " (" + (name != nullptr ? name : "unknown") + ")";
}

std::vector<std::string> Environment(const std::vector<std::string>& additions) {
  std::vector<std::string> all = additions;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view view(*entry);
    const std::string_view name = view.substr(0, view.find('=') + 1);
    bool replaced = false;
    for (const std::string& addition : additions)
      replaced = replaced || std::string_view(addition).substr(0, name.size()) == name;
    if (!replaced) all.emplace_back(view);
  }
  return all;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Between fork and exec of a process with many threads: nothing here may take a lock or allocate.
[[noreturn]] void BecomeChild(char* const* arguments, char* const* environment, int output,
                              int error_report, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);  // it died before the line above
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int handled : {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGCHLD}) signal(handled, SIG_DFL);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  environ = const_cast<char**>(environment);
  execvp(arguments[0], arguments);
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(error_report, &error, sizeof(error));
  _exit(127);
}

}  // namespace

bool Pipe::Make() { return pipe2(ends_.data(), O_CLOEXEC) == 0; }

Pipe::~Pipe() {
  for (const int end : ends_) {
    if (end >= 0) close(end);
  }
}

void Pipe::CloseIn() {
  if (ends_[1] >= 0) close(std::exchange(ends_[1], -1));
}

std::string DescribeWaitStatus(int wait_status) {
  if (WIFSIGNALED(wait_status)) return "was ended by signal " + SignalName(WTERMSIG(wait_status));
  const int code = WEXITSTATUS(wait_status);
  // A launcher passes on how its processes ended as a shell does.
  if (code > 128 && code < 128 + NSIG)
    return "exited with code " + std::to_string(code) + ": a process was ended by signal " +
           SignalName(code - 128);
  return "exited with code " + std::to_string(code);
}

Result<std::unique_ptr<Process>> Process::Start(const ProcessOptions& options,
                                                std::function<void()> on_exit) {
  OCTET_CHECK(!options.arguments.empty());
  std::vector<std::string> arguments = options.arguments;
  std::vector<std::string> environment = Environment(options.environment);
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(environment);
  Pipe output, report, output_end;
  for (Pipe* pipe : {&output, &report, &output_end}) {
    if (!pipe->Make())
      return Internal(std::string("no pipe can be made (") + strerror(errno) + ")");
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) BecomeChild(argv.data(), envp.data(), output.in(), report.in(), parent);
  const int fork_error = errno;
  output.CloseIn();
  report.CloseIn();
  int error = pid < 0 ? fork_error : 0;
  if (pid > 0) {
    while (read(report.out(), &error, sizeof(error)) < 0 && errno == EINTR) {
    }
  }
  if (error != 0) {
    if (pid > 0) waitpid(pid, nullptr, 0);
    return FailedPrecondition(options.arguments[0] + " can not be started (" + strerror(error) +
                              ")");
  }
  return std::unique_ptr<Process>(
      new Process(pid, std::move(output), std::move(output_end), options, std::move(on_exit)));
}

Process::Process(pid_t pid, Pipe output, Pipe output_end, const ProcessOptions& options,
                 std::function<void()> on_exit)
    : pid_(pid),
      output_(std::move(output)),
      output_end_(std::move(output_end)),
      source_(options.output_source),
      on_line_(options.on_line),
      on_exit_(std::move(on_exit)) {
  exit_thread_ = std::thread([this] { WatchExit(); });
  output_thread_ = std::thread([this] { PassOutput(); });
}

Process::~Process() {
  SignalGroup(SIGKILL);
  exit_thread_.join();
  output_end_.CloseIn();
  output_thread_.join();
}

void Process::WatchExit() {
  siginfo_t info{};
  // Left unreaped until the flag is set: a signal can never hit another process of the same number.
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  int status = 0;
  {
    const std::lock_guard lock(mutex_);
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    wait_status_ = status;
  }
  exited_.notify_all();
  on_exit_();
}

void Process::SignalGroup(int signal) {
  const std::lock_guard lock(mutex_);
  if (!wait_status_.has_value()) kill(-pid_, signal);
}

bool Process::WaitExit(double seconds_max) {
  std::unique_lock lock(mutex_);
  return exited_.wait_for(lock, std::chrono::duration<double>(seconds_max),
                          [this] { return wait_status_.has_value(); });
}

std::string Process::DescribeExit() const {
  const std::lock_guard lock(mutex_);
  return wait_status_.has_value() ? DescribeWaitStatus(*wait_status_) : "ran on";
}

std::vector<std::string> Process::LastLines() const {
  const std::lock_guard lock(mutex_);
  return {lines_.begin(), lines_.end()};
}

void Process::PassOutput() {
  std::string text;
  bool ending = false;
  while (true) {
    pollfd fds[2] = {{output_.out(), POLLIN, 0}, {output_end_.out(), POLLIN, 0}};
    // At the end, what is already in the pipe is still read; a process that got away and holds the
    // pipe open is not waited for.
    if (poll(fds, ending ? 1 : 2, ending ? 0 : -1) < 0 && errno == EINTR) continue;
    if (fds[0].revents != 0) {
      char buffer[4096];
      const ssize_t bytes = read(output_.out(), buffer, sizeof(buffer));
      if (bytes < 0 && errno == EINTR) continue;
      if (bytes <= 0) break;
      text.append(buffer, static_cast<size_t>(bytes));
      PassLines(&text);
    } else if (ending) {
      break;
    }
    if (!ending && fds[1].revents != 0) ending = true;
  }
  if (!text.empty()) KeepLine(std::move(text));
}

void Process::PassLines(std::string* text) {
  size_t begin = 0;
  while (true) {
    size_t end = text->find('\n', begin);
    if (end == std::string::npos) {
      if (text->size() - begin < kOutputLineBytesMax) break;
      end = begin + kOutputLineBytesMax;
      KeepLine(text->substr(begin, kOutputLineBytesMax));
      begin = end;
      continue;
    }
    KeepLine(text->substr(begin, end - begin));
    begin = end + 1;
  }
  text->erase(0, begin);
}

void Process::KeepLine(std::string line) {
  PassLine(source_, line);
  if (line.empty() || IsSentProgress(line)) return;
  {
    const std::lock_guard lock(mutex_);
    if (lines_.size() == kOutputLinesKept) lines_.pop_front();
    lines_.push_back(line);
  }
  if (on_line_) on_line_(line);
}

}  // namespace octet::workers
