#include "tests/coordinator/support/program.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "base/check.h"

namespace octet::fakes {

bool IsAlive(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string stat;
  if (!std::getline(in, stat)) return false;
  const char state = stat[stat.rfind(')') + 2];
  return state != 'Z' && state != 'X';
}

Program::Program(std::vector<std::string> arguments, std::vector<std::string> environment) {
  int fds[2];
  OCTET_CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (std::string& variable : environment) envp.push_back(variable.data());
  for (char** variable = environ; *variable != nullptr; ++variable) envp.push_back(*variable);
  envp.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    dup2(fds[1], STDOUT_FILENO);
    dup2(fds[1], STDERR_FILENO);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  OCTET_CHECK_GT(pid_, 0);
  close(fds[1]);
  output_fd_ = fds[0];
  reader_ = std::thread([this] { Read(); });
}

Program::~Program() {
  if (!reaped_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  reader_.join();
  close(output_fd_);
}

void Program::Read() {
  char buffer[4096];
  while (true) {
    const ssize_t bytes = read(output_fd_, buffer, sizeof(buffer));
    const std::lock_guard lock(mutex_);
    if (bytes > 0) output_.append(buffer, static_cast<size_t>(bytes));
    if (bytes <= 0) output_ended_ = true;
    more_.notify_all();
    if (bytes <= 0) return;
  }
}

void Program::Signal(int signal) { kill(pid_, signal); }

int Program::WaitExitCode(double seconds_max) {
  for (int i = 0; i < seconds_max * 100 && !reaped_; ++i) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      reaped_ = true;
      exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return exit_code_;
}

std::string Program::WaitLine(const std::string& part, double seconds_max) {
  std::string line;
  std::unique_lock lock(mutex_);
  more_.wait_for(lock, std::chrono::duration<double>(seconds_max), [&] {
    const size_t at = output_.find(part);
    const size_t end = at == std::string::npos ? at : output_.find('\n', at);
    if (end == std::string::npos) return output_ended_;
    const size_t begin = output_.rfind('\n', at) + 1;
    line = output_.substr(begin, end - begin);
    return true;
  });
  return line;
}

std::string Program::output() const {
  const std::lock_guard lock(mutex_);
  return output_;
}

}  // namespace octet::fakes
