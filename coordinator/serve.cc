#include "coordinator/serve.h"

#include <google/protobuf/stubs/logging.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "base/check.h"
#include "base/log.h"
#include "coordinator/rpc/runtime.h"
#include "coordinator/service.h"
#include "coordinator/workers/supervisor.h"

namespace octet::coordinator {
namespace {

// Something for the main thread to sleep on: a signal, or a word from the service.
class Wakeups {
 public:
  Wakeups() : news_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGTERM, SIGINT}) sigaddset(&signals, signal);
    // A service under nohup outlives its terminal.
    struct sigaction hangup {};
    sigaction(SIGHUP, nullptr, &hangup);
    if (hangup.sa_handler != SIG_IGN) sigaddset(&signals, SIGHUP);
    // Threads that are started later inherit this, so that signals come here alone.
    pthread_sigmask(SIG_BLOCK, &signals, &mask_before_);
    signals_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    OCTET_CHECK(news_ >= 0 && signals_ >= 0);
    signal(SIGPIPE, SIG_IGN);
  }
  ~Wakeups() {
    close(signals_);
    close(news_);
    pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  }

  void Tell() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(news_, &one, sizeof(one));
  }

  // The signal that came, or 0 for a word from the service.
  int Wait() {
    while (true) {
      pollfd fds[2] = {{signals_, POLLIN, 0}, {news_, POLLIN, 0}};
      if (poll(fds, 2, -1) < 0) continue;
      signalfd_siginfo info{};
      if (read(signals_, &info, sizeof(info)) == sizeof(info))
        return static_cast<int>(info.ssi_signo);
      uint64_t told = 0;
      if (read(news_, &told, sizeof(told)) == sizeof(told)) return 0;
    }
  }

 private:
  int news_;
  int signals_ = -1;
  sigset_t mask_before_{};
};

// A connection is an open file, and gRPC listens no more once it could not accept one: as many as
// the system grants, up to what no service needs.
void AllowOpenFiles() {
  constexpr rlim_t kOpenFilesMax = 65536;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= kOpenFilesMax) return;
  files.rlim_cur = std::min(files.rlim_max, kOpenFilesMax);
  setrlimit(RLIMIT_NOFILE, &files);
}

void Stop(Service* service, double grace_seconds, Wakeups* wakeups) {
  std::atomic<bool> stopped{false};
  std::thread stopping([&] {
    service->Stop(grace_seconds);
    stopped = true;
    wakeups->Tell();
  });
  while (!stopped) {
    if (wakeups->Wait() != 0) {
      Log(LogLevel::kWarning, "a second signal: stopping at once");
      service->Hurry();
    }
  }
  stopping.join();
}

std::string ReadyLine(const ServeOptions& options, int port) {
  std::string address = options.grpc_address;
  if (port != 0) address = address.substr(0, address.rfind(':') + 1) + std::to_string(port);
  return "ready: gRPC on " + address + ", " + std::to_string(options.ranks) +
         (options.ranks == 1 ? " rank" : " ranks");
}

int Fail(const ServiceFailure& failure) {
  Log(LogLevel::kError, failure.cause.message());
  return failure.exit_code;
}

}  // namespace

int Serve(const ServeOptions& options) {
  AllowOpenFiles();
  rpc::PrepareRuntime();
  google::protobuf::SetLogHandler(nullptr);  // a line for every message that is none
  Wakeups wakeups;
  Service service(options);
  service.on_change = [&wakeups] { wakeups.Tell(); };
  if (const auto failure = service.Start()) return Fail(*failure);
  const std::string ranks =
      std::to_string(options.ranks) + (options.ranks == 1 ? " rank" : " ranks");
  Log(LogLevel::kInfo, options.launcher == workers::kLauncherExternal
                           ? "waiting for " + ranks + " at " + options.link_address
                           : "starting " + ranks);
  bool told_ready = false;
  while (true) {
    if (const int signal = wakeups.Wait(); signal != 0) {
      Log(LogLevel::kInfo, "stopping; running answers have up to " +
                               std::to_string(static_cast<int64_t>(options.grace_seconds)) +
                               " s to end");
      Stop(&service, options.grace_seconds, &wakeups);
      Log(LogLevel::kInfo, "stopped");
      return 0;
    }
    if (const auto failure = service.failure()) {
      Stop(&service, /*grace_seconds=*/0, &wakeups);
      return Fail(*failure);
    }
    if (service.ready() && !told_ready) {
      told_ready = true;
      Log(LogLevel::kInfo, ReadyLine(options, service.grpc_port()));
    }
  }
}

}  // namespace octet::coordinator
