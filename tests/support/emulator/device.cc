// base/device on the emulator: queues whose work is done when the call returns.
#include <sanitizer/asan_interface.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>

#include "base/device/backend.h"
#include "tests/support/emulator/device_memory.h"
#include "tests/support/emulator/launch.h"
#include "tests/support/emulator/scheduler.h"

namespace octet {
namespace emulator {
namespace {

thread_local int captures = 0;
thread_local int current_device = 0;  // of the OS thread, as with CUDA

class EmulatedGpu final : public Gpu {
 public:
  explicit EmulatedGpu(DeviceInfo info)
      : info_(std::move(info)), stream_(&info_, &queues_.emplace_back()) {
    MakeCurrent();
  }

  const DeviceInfo& info() const override { return info_; }
  Stream& stream() override { return stream_; }
  Stream NewStream() override { return Stream(&info_, &queues_.emplace_back()); }
  void MakeCurrent() override { current_device = info_.index; }
  int64_t free_bytes() override { return FreeDeviceBytes(info_.index); }

 private:
  DeviceInfo info_;
  std::deque<Queue> queues_;
  Stream stream_;
};

// What a block may have at most (CUDA programming guide, technical specifications by compute
// capability).
int64_t SharedBytesOf(int capability) {
  if (capability == 86 || capability == 89 || capability >= 120) return 99 * 1024;
  return capability < 90 ? 163 * 1024 : kSharedBytesMax;
}

DeviceInfo EmulatedInfo(int index) {
  DeviceInfo info;
  info.index = index;
  info.name = "emulated device";
  info.major = CurrentSettings().capability / 10;
  info.minor = CurrentSettings().capability % 10;
  info.sm_count = 4;
  info.total_bytes = CurrentSettings().device_bytes;
  info.free_bytes = FreeDeviceBytes(index);
  info.l2_bytes = 1 << 20;
  info.shared_bytes_per_block = SharedBytesOf(CurrentSettings().capability);
  info.driver_version = info.runtime_version = 13000;
  info.uuid = std::string(31, '0') + std::to_string(index);
  return info;
}

// Bytes of a copy or a fill, of which the device's end must lie in one buffer.
void CheckDeviceRange(const void* address, int64_t bytes, const char* what) {
  if (DeviceOf(address) < 0) Fail(std::string(what) + ": not device memory", Place::current());
  if (__asan_region_is_poisoned(const_cast<void*>(address), static_cast<size_t>(bytes)) != nullptr)
    Fail(std::string(what) + ": out of bounds of a device buffer, or freed", Place::current());
}

void CheckHostRange(const void* address, const char* what) {
  if (DeviceOf(address) >= 0) Fail(std::string(what) + ": not host memory", Place::current());
}

void RunCopy(void* to, const void* from, int64_t bytes, backend::CopyKind kind) {
  const DeviceLock lock;
  const DeviceMemoryAccess access;
  if (kind == backend::CopyKind::kToHost) {
    CheckHostRange(to, "the host's end of CopyToHost");
  } else {
    CheckDeviceRange(to, bytes, "what a copy writes");
  }
  if (kind == backend::CopyKind::kToDevice) {
    CheckHostRange(from, "the host's end of CopyToDevice");
  } else {
    CheckDeviceRange(from, bytes, "what a copy reads");
  }
  std::memmove(to, from, static_cast<size_t>(bytes));
  if (kind == backend::CopyKind::kToDevice) ++MutableCounts().copies_to_device;
  if (kind == backend::CopyKind::kToHost) ++MutableCounts().copies_to_host;
}

}  // namespace

// A queue takes work from threads on which its device is current.
void CheckCurrent(const Stream& stream, const char* what) {
  if (stream.info().index != current_device)
    Fail(std::string(what) + ": the stream is of device " + std::to_string(stream.info().index) +
             ", and on this thread device " + std::to_string(current_device) +
             " is current; call MakeCurrent",
         Place::current());
}

}  // namespace emulator

Result<int> Gpu::Count() { return emulator::kDevices; }

Result<std::unique_ptr<Gpu>> Gpu::Open(const GpuOptions& options) {
  DriverReport report;
  report.driver_version = report.runtime_version = 13000;
  report.device_count = emulator::kDevices;
  OCTET_RETURN_IF_ERROR(CheckDeviceIndex(report, options.index));
  DeviceInfo info = emulator::EmulatedInfo(options.index);
  OCTET_RETURN_IF_ERROR(CheckCapability(info));
  OCTET_RETURN_IF_ERROR(CheckMemory(info, options.needed_bytes));
  return std::unique_ptr<Gpu>(std::make_unique<emulator::EmulatedGpu>(std::move(info)));
}

namespace backend {

using emulator::Place;

Result<std::byte*> Allocate(MemoryKind kind, int64_t bytes) {
  if (emulator::captures > 0)
    emulator::Fail("memory is allocated while a graph is captured", Place::current());
  if (kind == MemoryKind::kHost) {
    auto* data = static_cast<std::byte*>(std::calloc(1, static_cast<size_t>(bytes)));
    OCTET_CHECK(data != nullptr);
    return data;
  }
  const emulator::DeviceLock lock;
  ++emulator::MutableCounts().allocations;
  const int device = emulator::current_device;
  std::byte* data = emulator::AllocateDeviceMemory(device, bytes);
  if (data == nullptr) return OutOfDeviceMemory(emulator::EmulatedInfo(device), bytes);
  return data;
}

void Free(MemoryKind kind, std::byte* data, int64_t bytes) {
  if (kind == MemoryKind::kHost) {
    std::free(data);
  } else {
    emulator::FreeDeviceMemory(data, bytes);
  }
}

void Copy(void* to, const void* from, int64_t bytes, CopyKind kind, Stream& stream) {
  emulator::SubmitSettled(stream, [=] { emulator::RunCopy(to, from, bytes, kind); });
}

void Fill(void* device, int value, int64_t bytes, Stream& stream) {
  emulator::SubmitSettled(stream, [=] {
    const emulator::DeviceLock lock;
    const emulator::DeviceMemoryAccess access;
    emulator::CheckDeviceRange(device, bytes, "FillBytes");
    std::memset(device, value, static_cast<size_t>(bytes));
  });
}

// Not under the lock: the function may wait for another rank's work.
void CallOnHost(void (*function)(void*), void* data, Stream& stream) {
  emulator::SubmitSettled(stream, [=] {
    const emulator::DeviceMemoryAccess access;
    function(data);
  });
}

void Synchronize(Stream& stream) {
  if (emulator::QueueOf(stream).recording != nullptr)
    emulator::Fail("the host waits for a stream that is being captured", Place::current());
}

namespace {

struct EmulatedEvent {
  std::shared_ptr<emulator::Recording> recording;  // null: recorded outside a capture
};

EmulatedEvent& EventOf(void* event) { return *static_cast<EmulatedEvent*>(event); }

struct EmulatedGraph {
  std::vector<std::function<void()>> work;
  std::vector<emulator::Queue*> queues;  // that it was captured from
};

}  // namespace

void* NewEvent() { return new EmulatedEvent; }
void DeleteEvent(void* event) { delete &EventOf(event); }
void RecordEvent(void* event, Stream& stream) {
  emulator::CheckCurrent(stream, "Event::Record");
  EventOf(event).recording = emulator::QueueOf(stream).recording;
}
void WaitEvent(void* event, Stream& stream) {
  const auto& recording = EventOf(event).recording;
  emulator::Queue& queue = emulator::QueueOf(stream);
  if (recording == nullptr || queue.recording == recording) {
    return emulator::SubmitSettled(stream, [] {});
  }
  if (recording->ended || queue.recording != nullptr)
    emulator::Fail("a stream waits for an event of a capture it has no part in", Place::current());
  queue.recording = recording;
  recording->queues.push_back(&queue);
  emulator::SubmitSettled(stream, [] {});
}
bool EventDone(void*) { return true; }
void SynchronizeEvent(void* event) {
  if (EventOf(event).recording != nullptr)
    emulator::Fail("the host waits for an event that was captured", Place::current());
}
double MillisecondsBetween(void*, void*) { return 0; }

void* CaptureGraph(void* graph, Stream& stream, const std::function<void()>& record) {
  if (graph != nullptr) DeleteGraph(graph);
  emulator::Queue& queue = emulator::QueueOf(stream);
  OCTET_CHECK(queue.recording == nullptr);
  const auto recording = std::make_shared<emulator::Recording>();
  recording->queues.push_back(&queue);
  queue.recording = recording;
  ++emulator::captures;
  record();
  --emulator::captures;
  for (emulator::Queue* taking_part : recording->queues) taking_part->recording = nullptr;
  recording->ended = true;
  return new EmulatedGraph{std::move(recording->work), std::move(recording->queues)};
}

void LaunchGraph(void* graph, Stream& stream) {
  ++emulator::MutableCounts().graphs;
  const auto& [work, queues] = *static_cast<EmulatedGraph*>(graph);
  const auto settle = [&stream, &queues] {
    emulator::SubmitSettled(stream, [&queues] {
      for (emulator::Queue* queue : queues) queue->chain.Settle();
    });
  };
  settle();
  for (const auto& part : work) emulator::Submit(stream, part);
  settle();
}

void DeleteGraph(void* graph) { delete static_cast<EmulatedGraph*>(graph); }

}  // namespace backend
}  // namespace octet
