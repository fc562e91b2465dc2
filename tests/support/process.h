// A child process of a test: its output in files of a private folder, every wait bounded, killed
// when the test forgets it.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "tests/support/temp_folder.h"

namespace octet::testing {

class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments) {
    pid_ = fork();
    OCTET_CHECK_GE(pid_, 0);
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Redirect(STDIN_FILENO, "/dev/null", O_RDONLY);
    Redirect(STDOUT_FILENO, dir_.File("out"), O_WRONLY | O_CREAT | O_TRUNC);
    Redirect(STDERR_FILENO, dir_.File("err"), O_WRONLY | O_CREAT | O_TRUNC);
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }

  ~Process() {
    if (exit_code_.has_value()) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const { kill(pid_, signal); }

  // The exit code, 128 + the signal it died of, or nothing while it runs.
  std::optional<int> Poll() {
    int status = 0;
    if (!exit_code_.has_value() && waitpid(pid_, &status, WNOHANG) == pid_) {
      exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return exit_code_;
  }

  // Nothing: it still runs after `seconds`.
  std::optional<int> Wait(double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (!Poll().has_value() && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return exit_code_;
  }

  std::string out() const { return Text("out"); }
  std::string err() const { return Text("err"); }

 private:
  static void Redirect(int to, const std::string& path, int flags) {
    const int fd = open(path.c_str(), flags, 0600);
    if (fd < 0 || dup2(fd, to) < 0) _exit(126);
    close(fd);
  }
  std::string Text(const char* name) const {
    std::ifstream file(dir_.File(name));
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

  test::TempFolder dir_;
  pid_t pid_ = 0;
  std::optional<int> exit_code_;
};

}  // namespace octet::testing
