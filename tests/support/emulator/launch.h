// From the queue of a stream to the scheduler. What is enqueued runs at once, on the caller's
// thread and under one lock for the whole process, or is recorded where the stream is being
// captured.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/device/device.h"
#include "tests/support/emulator/control.h"
#include "tests/support/emulator/past.h"

namespace octet::emulator {

struct Recording {
  std::vector<std::function<void()>> work;
  std::vector<struct Queue*> queues;  // that take part while it is made
  bool ended = false;
};

struct Queue {
  std::shared_ptr<Recording> recording;  // null: work runs at once
  uint64_t launches = 0;
  Chain chain;
};

struct Settings {
  uint64_t seed;
  int capability;
  int64_t device_bytes;
};
Settings& CurrentSettings();
Counts& MutableCounts();

Queue& QueueOf(Stream& stream);
// Fails unless the stream's device is current on this thread.
void CheckCurrent(const Stream& stream, const char* what);
// Runs `work` now, or records it.
void Submit(Stream& stream, std::function<void()> work);
// Work that is no kernel: it waits for all before it, and all after it wait for it.
void SubmitSettled(Stream& stream, std::function<void()> work);
// Held around anything that touches device memory.
class DeviceLock {
 public:
  DeviceLock();
  ~DeviceLock();
  DeviceLock(const DeviceLock&) = delete;
};

}  // namespace octet::emulator
