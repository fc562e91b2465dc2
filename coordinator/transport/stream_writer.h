// The thread that makes gRPC's calls for the streams of answers, so that the step loop, which feeds
// them all after every step, only leaves word: a write is a system call and more.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace octet::transport {

class GenerateCall;

class StreamWriter {
 public:
  StreamWriter() : thread_([this] { Run(); }) {}
  // REQUIRES: no call is left.
  ~StreamWriter();
  StreamWriter(const StreamWriter&) = delete;
  StreamWriter& operator=(const StreamWriter&) = delete;

  // Any thread: `call` has something to say; its Advance is called soon, once. It lives until then.
  void Wake(GenerateCall* call);

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable filled_;
  std::vector<GenerateCall*> woken_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace octet::transport
