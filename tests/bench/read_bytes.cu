// Blocks walk over the bytes side by side; a thread has kAtOnce loads of 16 bytes under way.
#include "tests/bench/read_bytes.h"

#include "base/device/device_info.h"
#include "base/device/primitives.cuh"

namespace octet {
namespace {

constexpr int kThreads = 512;
constexpr int kBlocksPerMultiprocessor = 4;
constexpr int kAtOnce = 8;

__global__ void __launch_bounds__(kThreads, kBlocksPerMultiprocessor)
    ReadKernel(const std::byte* from, int64_t words, uint32_t* sink) {
  hw::let_next_begin();
  hw::wait_for_past();
  const hw::CachePolicy policy = hw::evict_first();
  const int64_t step = int64_t{gridDim.x} * kThreads;
  uint32_t all = 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < words; i += step * kAtOnce) {
    uint4 read[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      read[j] = make_uint4(0, 0, 0, 0);
      if (i + j * step < words) read[j] = hw::load16_once(from + (i + j * step) * 16, policy);
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) all |= read[j].x ^ read[j].y ^ read[j].z ^ read[j].w;
  }
  if (all == 0x12345678u) *sink = all;  // never, for weights; the compiler cannot know
}

}  // namespace

void ReadBytes(const std::byte* from, int64_t bytes, uint32_t* sink, Stream& stream) {
  OCTET_LAUNCH_EARLY(ReadKernel,
                     dim3(static_cast<unsigned>(stream.info().sm_count * kBlocksPerMultiprocessor)),
                     dim3(kThreads), 0, stream, from, bytes / 16, sink);
}

}  // namespace octet
