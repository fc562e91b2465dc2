#include "base/device/device.h"

#include <cstring>

#include "base/check.h"
#include "base/device/backend.h"

namespace octet {
namespace {

bool OnCpu(const Stream& stream) { return stream.device() == Device::kCpu; }

void CopyBytes(void* to, const void* from, int64_t bytes, backend::CopyKind kind, Stream& stream) {
  OCTET_CHECK_GE(bytes, 0);
  if (bytes == 0) return;
  OCTET_CHECK(to != nullptr && from != nullptr);
  if (OnCpu(stream)) {
    std::memcpy(to, from, static_cast<size_t>(bytes));
  } else {
    backend::Copy(to, from, bytes, kind, stream);
  }
}

}  // namespace

template <MemoryKind kKind>
Result<OwnedBytes<kKind>> OwnedBytes<kKind>::Allocate(int64_t bytes) {
  OCTET_CHECK_GE(bytes, 0);
  OwnedBytes owned;
  if (bytes == 0) return owned;
  OCTET_ASSIGN_OR_RETURN(owned.data_, backend::Allocate(kKind, bytes));
  owned.bytes_ = bytes;
  return owned;
}

template <MemoryKind kKind>
void OwnedBytes<kKind>::Free() {
  if (data_ != nullptr) backend::Free(kKind, data_, bytes_);
}

template class OwnedBytes<MemoryKind::kDevice>;
template class OwnedBytes<MemoryKind::kHost>;

void CopyToDevice(void* device, const void* host, int64_t bytes, Stream& stream) {
  CopyBytes(device, host, bytes, backend::CopyKind::kToDevice, stream);
}
void CopyToHost(void* host, const void* device, int64_t bytes, Stream& stream) {
  CopyBytes(host, device, bytes, backend::CopyKind::kToHost, stream);
}
void CopyOnDevice(void* to, const void* from, int64_t bytes, Stream& stream) {
  CopyBytes(to, from, bytes, backend::CopyKind::kOnDevice, stream);
}

void FillBytes(void* device, int value, int64_t bytes, Stream& stream) {
  OCTET_CHECK_GE(bytes, 0);
  if (bytes == 0) return;
  OCTET_CHECK(device != nullptr);
  if (OnCpu(stream)) {
    std::memset(device, value, static_cast<size_t>(bytes));
  } else {
    backend::Fill(device, value, bytes, stream);
  }
}

void CallOnHost(void (*function)(void*), void* data, Stream& stream) {
  if (OnCpu(stream)) {
    function(data);
  } else {
    backend::CallOnHost(function, data, stream);
  }
}

void Synchronize(Stream& stream) {
  if (!OnCpu(stream)) backend::Synchronize(stream);
}

Event::~Event() {
  if (handle_ != nullptr) backend::DeleteEvent(handle_);
}

void Event::Record(Stream& stream) {
  if (OnCpu(stream)) return;
  if (handle_ == nullptr) handle_ = backend::NewEvent();
  backend::RecordEvent(handle_, stream);
}

void Event::Wait(Stream& stream) {
  if (!OnCpu(stream) && handle_ != nullptr) backend::WaitEvent(handle_, stream);
}

bool Event::Done() const { return handle_ == nullptr || backend::EventDone(handle_); }

void Event::Synchronize() const {
  if (handle_ != nullptr) backend::SynchronizeEvent(handle_);
}

double Event::MillisecondsBetween(const Event& begin, const Event& end) {
  OCTET_CHECK(begin.handle_ != nullptr && end.handle_ != nullptr);
  return backend::MillisecondsBetween(begin.handle_, end.handle_);
}

Graph::~Graph() {
  if (handle_ != nullptr) backend::DeleteGraph(handle_);
}

Graph Graph::Capture(Stream& stream, const std::function<void()>& record) {
  Graph graph;
  graph.Update(stream, record);
  return graph;
}

void Graph::Update(Stream& stream, const std::function<void()>& record) {
  OCTET_CHECK(!OnCpu(stream));
  handle_ = backend::CaptureGraph(handle_, stream, record);
}

void Graph::Launch(Stream& stream) {
  OCTET_CHECK(handle_ != nullptr);
  backend::LaunchGraph(handle_, stream);
}

}  // namespace octet
