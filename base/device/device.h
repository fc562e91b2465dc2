// Devices, their memory, and work in their queues, without a CUDA header. Three implementations,
// chosen by what an executable links: octet_device_cuda, octet_device_none (no device ever opens)
// and octet_emulator (tests; device memory is host memory, and freed memory is poisoned).
//
// Threads: a Gpu and what it made may be used from any thread, by one at a time; a thread other
// than the one that opened it calls MakeCurrent first. A call that fails on a device that had
// opened is a bug or a broken device: it ends the process and prints its place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "base/device/device_info.h"
#include "base/device/stream.h"
#include "base/status.h"

namespace octet {

struct GpuOptions {
  int index = 0;
  int64_t needed_bytes = 0;  // refuses a device with less free memory
};

class Gpu {
 public:
  // Refuses with one sentence: no driver, driver too old, no such device, compute capability below
  // 8.0, too little free memory, in use by someone else.
  static Result<std::unique_ptr<Gpu>> Open(const GpuOptions& options);
  static Result<int> Count();

  virtual ~Gpu() = default;
  virtual const DeviceInfo& info() const = 0;
  virtual Stream& stream() = 0;    // the main queue
  virtual Stream NewStream() = 0;  // one more queue, which lives as long as the Gpu
  virtual void MakeCurrent() = 0;
  virtual int64_t free_bytes() = 0;  // now
};

enum class MemoryKind { kDevice, kHost };

// Bytes that are freed with the object, after all work of the device.
template <MemoryKind kKind>
class OwnedBytes {
 public:
  OwnedBytes() = default;
  // On the current device. Fails, with the sizes in the sentence, when there is not that much left.
  static Result<OwnedBytes> Allocate(int64_t bytes);
  ~OwnedBytes() { Free(); }
  OwnedBytes(OwnedBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  OwnedBytes& operator=(OwnedBytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::byte* data() const { return data_; }  // null when bytes() is 0
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  int64_t bytes() const { return bytes_; }

 private:
  void Free();
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};
// Device memory, aligned to 256, filled with 0xFF (NaN in every float format). Its address is not
// for the host to read.
using DeviceBuffer = OwnedBytes<MemoryKind::kDevice>;
// Host memory that copies run from and to without the host waiting (pinned), zeroed.
using HostBuffer = OwnedBytes<MemoryKind::kHost>;

// Enqueue and return. On a CPU stream all memory is host memory and the work is done at once. Host
// memory that is not a HostBuffer's works too, but the call may wait.
void CopyToDevice(void* device, const void* host, int64_t bytes, Stream& stream);
void CopyToHost(void* host, const void* device, int64_t bytes, Stream& stream);
void CopyOnDevice(void* to, const void* from, int64_t bytes, Stream& stream);
void FillBytes(void* device, int value, int64_t bytes, Stream& stream);
// Calls function(data) on a thread of the driver when the queue comes to it. It may not call
// anything of a device. In a graph it is called at every launch; `data` must live as long.
void CallOnHost(void (*function)(void*), void* data, Stream& stream);
// Waits until all work enqueued so far is done.
void Synchronize(Stream& stream);

// A point in one queue that the host or another queue can wait for. One that was never recorded, or
// on a CPU stream, is over at once.
class Event {
 public:
  Event() = default;
  ~Event();
  Event(Event&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  void Record(Stream& stream);
  void Wait(Stream& stream);  // what `stream` is given from now on runs after the point
  bool Done() const;          // the host has nothing to wait for
  void Synchronize() const;   // the host waits, blocked, not spinning
  // Between two recorded and finished events.
  static double MillisecondsBetween(const Event& begin, const Event& end);

 private:
  void* handle_ = nullptr;
};

// Work recorded once and launched many times. What varies from launch to launch must come from
// device memory: host arguments are those of the recording.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(Graph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  // Records what `record` enqueues on `stream` (and on streams that wait for it by events and are
  // waited for again); nothing runs. `record` may not allocate or synchronize.
  static Graph Capture(Stream& stream, const std::function<void()>& record);
  // Takes over another recording of the same shape without a new instance, else with one.
  void Update(Stream& stream, const std::function<void()>& record);
  void Launch(Stream& stream);
  bool empty() const { return handle_ == nullptr; }

 private:
  void* handle_ = nullptr;
};

}  // namespace octet
