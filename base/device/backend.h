// What device.cc asks of the implementation that an executable links: octet_device_cuda,
// octet_device_none or octet_emulator. Streams here are on CUDA; a handle is what the
// implementation made. Gpu::Open and Gpu::Count are the implementation's as they are.
#pragma once

#include "base/device/device.h"

namespace octet::backend {

Result<std::byte*> Allocate(MemoryKind kind, int64_t bytes);
void Free(MemoryKind kind, std::byte* data, int64_t bytes);

enum class CopyKind { kToDevice, kToHost, kOnDevice };
void Copy(void* to, const void* from, int64_t bytes, CopyKind kind, Stream& stream);
void Fill(void* device, int value, int64_t bytes, Stream& stream);
void CallOnHost(void (*function)(void*), void* data, Stream& stream);
void Synchronize(Stream& stream);

void* NewEvent();
void DeleteEvent(void* event);
void RecordEvent(void* event, Stream& stream);
void WaitEvent(void* event, Stream& stream);
bool EventDone(void* event);
void SynchronizeEvent(void* event);
double MillisecondsBetween(void* begin, void* end);

// `graph` is null, or one that may be changed in place; it is deleted when another is returned.
void* CaptureGraph(void* graph, Stream& stream, const std::function<void()>& record);
void LaunchGraph(void* graph, Stream& stream);
void DeleteGraph(void* graph);

}  // namespace octet::backend
