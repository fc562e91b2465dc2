// The device of an executable that was built without CUDA: none opens, so nothing else is called.
#include "base/check.h"
#include "base/device/backend.h"

namespace octet {
namespace {

Status NoCuda() {
  return Unimplemented(
      "this build of Octet has no CUDA in it: nvcc was not found when it was configured; "
      "--device cpu runs without a GPU");
}

[[noreturn]] void NoDeviceEverOpened(const char* call) { CheckFailed(__FILE__, __LINE__, call); }

}  // namespace

Result<int> Gpu::Count() { return NoCuda(); }
Result<std::unique_ptr<Gpu>> Gpu::Open(const GpuOptions&) { return NoCuda(); }

namespace backend {

Result<std::byte*> Allocate(MemoryKind, int64_t) { return NoCuda(); }
void Free(MemoryKind, std::byte*, int64_t) { NoDeviceEverOpened(__func__); }
void Copy(void*, const void*, int64_t, CopyKind, Stream&) { NoDeviceEverOpened(__func__); }
void Fill(void*, int, int64_t, Stream&) { NoDeviceEverOpened(__func__); }
void CallOnHost(void (*)(void*), void*, Stream&) { NoDeviceEverOpened(__func__); }
void Synchronize(Stream&) { NoDeviceEverOpened(__func__); }
void* NewEvent() { NoDeviceEverOpened(__func__); }
void DeleteEvent(void*) { NoDeviceEverOpened(__func__); }
void RecordEvent(void*, Stream&) { NoDeviceEverOpened(__func__); }
void WaitEvent(void*, Stream&) { NoDeviceEverOpened(__func__); }
bool EventDone(void*) { NoDeviceEverOpened(__func__); }
void SynchronizeEvent(void*) { NoDeviceEverOpened(__func__); }
double MillisecondsBetween(void*, void*) { NoDeviceEverOpened(__func__); }
void* CaptureGraph(void*, Stream&, const std::function<void()>&) { NoDeviceEverOpened(__func__); }
void LaunchGraph(void*, Stream&) { NoDeviceEverOpened(__func__); }
void DeleteGraph(void*) { NoDeviceEverOpened(__func__); }

}  // namespace backend
}  // namespace octet
