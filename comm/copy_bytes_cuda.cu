#include "comm/copy_bytes.h"

#include "base/device/primitives.cuh"

namespace octet::comm {
namespace {

constexpr int kThreads = 256;

template <typename Unit>
__global__ void CopyKernel(const Unit* from, Unit* to, int64_t count) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) to[i] = from[i];
}

template <typename Unit>
void Start(const CopyBytesArgs& args, Stream& stream) {
  const int64_t count = args.bytes / static_cast<int64_t>(sizeof(Unit));
  const dim3 grid(static_cast<unsigned>((count + kThreads - 1) / kThreads));
  OCTET_LAUNCH(CopyKernel<Unit>, grid, dim3(kThreads), 0, stream,
               static_cast<const Unit*>(args.from), static_cast<Unit*>(args.to), count);
}

}  // namespace

void cuda::CopyBytes(const CopyBytesArgs& args, Stream& stream) {
  if (args.bytes == 0) return;
  const auto bits = reinterpret_cast<uintptr_t>(args.from) | reinterpret_cast<uintptr_t>(args.to) |
                    static_cast<uintptr_t>(args.bytes);
  bits % sizeof(uint4) == 0 ? Start<uint4>(args, stream) : Start<uint8_t>(args, stream);
}

}  // namespace octet::comm
