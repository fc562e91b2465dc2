#include "coordinator/transport/stream_writer.h"

#include <pthread.h>

#include "coordinator/transport/generate_call.h"

namespace octet::transport {

StreamWriter::~StreamWriter() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  filled_.notify_one();
  thread_.join();
}

void StreamWriter::Wake(GenerateCall* call) {
  bool was_empty;
  {
    const std::lock_guard lock(mutex_);
    was_empty = woken_.empty();
    woken_.push_back(call);
  }
  if (was_empty) filled_.notify_one();
}

void StreamWriter::Run() {
  pthread_setname_np(pthread_self(), "octet-streams");
  std::vector<GenerateCall*> calls;
  std::unique_lock lock(mutex_);
  while (true) {
    filled_.wait(lock, [this] { return ending_ || !woken_.empty(); });
    if (woken_.empty()) return;
    calls.swap(woken_);
    lock.unlock();
    for (GenerateCall* call : calls) call->Advance();
    calls.clear();
    lock.lock();
  }
}

}  // namespace octet::transport
