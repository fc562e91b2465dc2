// Devices over the CUDA runtime. Opening one fails with a sentence; after that, a call that fails
// ends the process with its place.
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/device/backend.h"
#include "base/device/tensor_map.h"

namespace octet {

namespace hw {

void CheckCuda(cudaError_t error, const char* call, const char* file, int line) {
  if (error == cudaSuccess) return;
  CheckFailed(
      file, line,
      std::string(call) + " failed: " + cudaGetErrorName(error) + ", " + cudaGetErrorString(error));
}

namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// The driver's, found at run time: the binary does not link it.
Encode FindEncode() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result = {};
  CheckCuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                             cudaEnableDefault, &result),
            "cudaGetDriverEntryPointByVersion(cuTensorMapEncodeTiled)", __FILE__, __LINE__);
  OCTET_CHECK(found != nullptr);
  return reinterpret_cast<Encode>(found);
}

}  // namespace

TensorMap MakeTensorMap(const void* values, int64_t rows, int64_t inputs, int64_t stride,
                        int32_t box_rows) {
  static const Encode encode = FindEncode();
  static_assert(sizeof(CUtensorMap) == sizeof(TensorMap));
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(inputs), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(stride) * 2};
  const cuuint32_t box[2] = {kTensorBoxInputs, static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t each[2] = {1, 1};
  CUtensorMap made = {};
  const CUresult result =
      encode(&made, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(values), sizes, strides,
             box, each, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  OCTET_CHECK_EQ(static_cast<int>(result), 0);
  TensorMap map;
  std::memcpy(&map, &made, sizeof(map));
  return map;
}

}  // namespace hw

#define OCTET_CUDA_CHECK(call) ::octet::hw::CheckCuda((call), #call, __FILE__, __LINE__)

namespace {

std::string Sentence(cudaError_t error) {
  return std::string(cudaGetErrorString(error)) + " (" + cudaGetErrorName(error) + ")";
}

Result<DriverReport> AskDriver() {
  DriverReport report;
  OCTET_CUDA_CHECK(cudaRuntimeGetVersion(&report.runtime_version));
  OCTET_CUDA_CHECK(cudaDriverGetVersion(&report.driver_version));  // 0 without a driver
  report.driver_found = report.driver_version != 0;
  OCTET_RETURN_IF_ERROR(CheckDriver(report));
  const cudaError_t error = cudaGetDeviceCount(&report.device_count);
  if (error == cudaErrorNoDevice) report.device_count = 0;
  if (error != cudaSuccess && error != cudaErrorNoDevice)
    return FailedPrecondition("the NVIDIA driver can not be used: " + Sentence(error));
  return report;
}

std::string Hexadecimal(const cudaUUID_t& uuid) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char byte : uuid.bytes) {
    text += kDigits[static_cast<uint8_t>(byte) >> 4];
    text += kDigits[static_cast<uint8_t>(byte) & 15];
  }
  return text;
}

DeviceInfo AskDevice(const DriverReport& report, int index) {
  cudaDeviceProp properties;
  OCTET_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  DeviceInfo info;
  info.index = index;
  info.name = properties.name;
  info.major = properties.major;
  info.minor = properties.minor;
  info.sm_count = properties.multiProcessorCount;
  info.total_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  info.l2_bytes = properties.l2CacheSize;
  info.shared_bytes_per_block = static_cast<int64_t>(properties.sharedMemPerBlockOptin);
  info.driver_version = report.driver_version;
  info.runtime_version = report.runtime_version;
  info.uuid = Hexadecimal(properties.uuid);
  return info;
}

int64_t FreeBytesNow() {
  size_t free_bytes = 0, total_bytes = 0;
  OCTET_CUDA_CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
  return static_cast<int64_t>(free_bytes);
}

cudaStream_t HandleOf(Stream& stream) { return static_cast<cudaStream_t>(stream.handle()); }
cudaEvent_t EventOf(void* event) { return static_cast<cudaEvent_t>(event); }
cudaGraphExec_t GraphOf(void* graph) { return static_cast<cudaGraphExec_t>(graph); }

class CudaGpu final : public Gpu {
 public:
  explicit CudaGpu(DeviceInfo info) : info_(std::move(info)), stream_(NewStream()) {}
  ~CudaGpu() override {
    MakeCurrent();
    for (cudaStream_t stream : streams_) OCTET_CUDA_CHECK(cudaStreamDestroy(stream));
  }

  const DeviceInfo& info() const override { return info_; }
  Stream& stream() override { return stream_; }
  Stream NewStream() override {
    MakeCurrent();
    cudaStream_t stream = nullptr;
    OCTET_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    streams_.push_back(stream);
    return Stream(&info_, stream);
  }
  void MakeCurrent() override { OCTET_CUDA_CHECK(cudaSetDevice(info_.index)); }
  int64_t free_bytes() override {
    MakeCurrent();
    return FreeBytesNow();
  }

 private:
  DeviceInfo info_;
  std::vector<cudaStream_t> streams_;
  Stream stream_;
};

}  // namespace

Result<int> Gpu::Count() {
  OCTET_ASSIGN_OR_RETURN(const DriverReport report, AskDriver());
  return report.device_count;
}

Result<std::unique_ptr<Gpu>> Gpu::Open(const GpuOptions& options) {
  OCTET_ASSIGN_OR_RETURN(const DriverReport report, AskDriver());
  OCTET_RETURN_IF_ERROR(CheckDeviceIndex(report, options.index));
  DeviceInfo info = AskDevice(report, options.index);
  OCTET_RETURN_IF_ERROR(CheckCapability(info));
  // The context is made here: an exclusive or a prohibited device refuses now. The host blocks when
  // it waits, since ranks share cores.
  cudaError_t error =
      cudaInitDevice(options.index, cudaDeviceScheduleBlockingSync, cudaInitDeviceFlagsAreValid);
  if (error == cudaSuccess) error = cudaSetDevice(options.index);
  if (error == cudaErrorMemoryAllocation)
    return ResourceExhausted("CUDA device " + std::to_string(options.index) +
                             " has not enough free memory to be opened: " + Sentence(error));
  if (error != cudaSuccess) return DeviceBusy(options.index, Sentence(error));
  info.free_bytes = FreeBytesNow();
  OCTET_RETURN_IF_ERROR(CheckMemory(info, options.needed_bytes));
  return std::unique_ptr<Gpu>(std::make_unique<CudaGpu>(std::move(info)));
}

namespace backend {

Result<std::byte*> Allocate(MemoryKind kind, int64_t bytes) {
  void* data = nullptr;
  const auto size = static_cast<size_t>(bytes);
  if (kind == MemoryKind::kHost) {
    const cudaError_t error = cudaHostAlloc(&data, size, cudaHostAllocPortable);
    if (error != cudaSuccess) {
      cudaGetLastError();  // the next call is not to blame
      return ResourceExhausted(std::to_string(bytes) +
                               " bytes of pinned host memory can not be had: " + Sentence(error));
    }
    std::memset(data, 0, size);
    return static_cast<std::byte*>(data);
  }
  const cudaError_t error = cudaMalloc(&data, size);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    DeviceInfo info;
    OCTET_CUDA_CHECK(cudaGetDevice(&info.index));
    cudaDeviceProp properties;
    OCTET_CUDA_CHECK(cudaGetDeviceProperties(&properties, info.index));
    info.name = properties.name;
    info.free_bytes = FreeBytesNow();
    return OutOfDeviceMemory(info, bytes);
  }
  OCTET_CUDA_CHECK(error);
  OCTET_CUDA_CHECK(cudaMemset(data, 0xFF, size));
  // Our streams do not wait for the default one.
  OCTET_CUDA_CHECK(cudaDeviceSynchronize());
  return static_cast<std::byte*>(data);
}

void Free(MemoryKind kind, std::byte* data, int64_t) {
  const cudaError_t error = kind == MemoryKind::kHost ? cudaFreeHost(data) : cudaFree(data);
  // Objects of static life are freed after the runtime has gone, with all that it held.
  if (error != cudaErrorCudartUnloading) OCTET_CUDA_CHECK(error);
}

void Copy(void* to, const void* from, int64_t bytes, CopyKind kind, Stream& stream) {
  cudaMemcpyKind direction = cudaMemcpyDeviceToDevice;
  if (kind == CopyKind::kToDevice) direction = cudaMemcpyHostToDevice;
  if (kind == CopyKind::kToHost) direction = cudaMemcpyDeviceToHost;
  OCTET_CUDA_CHECK(
      cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), direction, HandleOf(stream)));
}

void Fill(void* device, int value, int64_t bytes, Stream& stream) {
  OCTET_CUDA_CHECK(cudaMemsetAsync(device, value, static_cast<size_t>(bytes), HandleOf(stream)));
}

void CallOnHost(void (*function)(void*), void* data, Stream& stream) {
  OCTET_CUDA_CHECK(cudaLaunchHostFunc(HandleOf(stream), function, data));
}

void Synchronize(Stream& stream) { OCTET_CUDA_CHECK(cudaStreamSynchronize(HandleOf(stream))); }

void* NewEvent() {
  cudaEvent_t event = nullptr;
  OCTET_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventBlockingSync));
  return event;
}
void DeleteEvent(void* event) {
  const cudaError_t error = cudaEventDestroy(EventOf(event));
  if (error != cudaErrorCudartUnloading) OCTET_CUDA_CHECK(error);
}
void RecordEvent(void* event, Stream& stream) {
  OCTET_CUDA_CHECK(cudaEventRecord(EventOf(event), HandleOf(stream)));
}
void WaitEvent(void* event, Stream& stream) {
  OCTET_CUDA_CHECK(cudaStreamWaitEvent(HandleOf(stream), EventOf(event), 0));
}
bool EventDone(void* event) {
  const cudaError_t error = cudaEventQuery(EventOf(event));
  if (error == cudaErrorNotReady) return false;
  OCTET_CUDA_CHECK(error);
  return true;
}
void SynchronizeEvent(void* event) { OCTET_CUDA_CHECK(cudaEventSynchronize(EventOf(event))); }
double MillisecondsBetween(void* begin, void* end) {
  float milliseconds = 0;
  OCTET_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, EventOf(begin), EventOf(end)));
  return static_cast<double>(milliseconds);
}

void* CaptureGraph(void* graph, Stream& stream, const std::function<void()>& record) {
  // Thread-local: other ranks of the process may allocate meanwhile.
  OCTET_CUDA_CHECK(cudaStreamBeginCapture(HandleOf(stream), cudaStreamCaptureModeThreadLocal));
  record();
  cudaGraph_t recorded = nullptr;
  OCTET_CUDA_CHECK(cudaStreamEndCapture(HandleOf(stream), &recorded));
  if (graph != nullptr) {
    cudaGraphExecUpdateResultInfo result;
    const cudaError_t error = cudaGraphExecUpdate(GraphOf(graph), recorded, &result);
    if (error == cudaSuccess) {
      OCTET_CUDA_CHECK(cudaGraphDestroy(recorded));
      return graph;
    }
    cudaGetLastError();  // of another shape: a new instance
    DeleteGraph(graph);
  }
  cudaGraphExec_t instance = nullptr;
  OCTET_CUDA_CHECK(cudaGraphInstantiate(&instance, recorded, 0));
  OCTET_CUDA_CHECK(cudaGraphDestroy(recorded));
  return instance;
}

void LaunchGraph(void* graph, Stream& stream) {
  OCTET_CUDA_CHECK(cudaGraphLaunch(GraphOf(graph), HandleOf(stream)));
}

void DeleteGraph(void* graph) {
  const cudaError_t error = cudaGraphExecDestroy(GraphOf(graph));
  if (error != cudaErrorCudartUnloading) OCTET_CUDA_CHECK(error);
}

}  // namespace backend
}  // namespace octet
