// Halves of cache blocks on their way into shared memory. In bf16 tokens that no vector of the tile
// sees are not read: their rows become zeros, so that what a stale slot holds enters no product.
// Integer codes are finite whatever they are, and scales are masked where they are used.
#pragma once

#include "kernels/attention/attention_merge.cuh"

namespace octet::kernels {

// Rows [row_begin, row_end) of the keys (value == false) or values of kv head `head`, and the pairs
// of all rows. Codes are read whatever the rows: unseen ones are weighed by 0.
template <class Shape, int kThreads>
OCTET_DEVICE_BODY void CopyHalf(unsigned char* half, unsigned char* half_pairs,
                                const std::byte* block, int head, bool value, int row_begin,
                                int row_end, int thread) {
  const std::byte* of_head = block + int64_t{head} * Shape::kHeadBytes;
  const std::byte* data = of_head + (value ? Shape::kCacheDataBytes : 0);
  const auto is_wanted = [&](int row) {
    return !Shape::kBF16 || (row >= row_begin && row < row_end);
  };
  constexpr int kRowStep = kThreads / Shape::kChunks;
  if constexpr (Shape::kRowBytes % 16 == 0 && kThreads % Shape::kChunks == 0 && kRowStep % 8 == 0 &&
                kRowStep <= kBlockTokens && (Shape::kInt8 || kThreads < Shape::kWideThreads)) {
    // Wide tiles of the other formats have no registers for it. A thread's rows are all swizzled
    // alike: its copies lie at fixed distances.
    const int row = thread / Shape::kChunks;
    unsigned char* to = half + Shape::Offset(row, thread % Shape::kChunks);
    const std::byte* from = data + 16 * thread;
#pragma unroll
    for (int i = 0; i < kBlockTokens / kRowStep; ++i) {
      hw::cp_async16(to + i * kRowStep * Shape::kStride, from + i * kThreads * 16,
                     is_wanted(row + i * kRowStep));
    }
  } else if constexpr (Shape::kRowBytes % 16 == 0) {
#pragma unroll
    for (int i = thread; i < kBlockTokens * Shape::kChunks; i += kThreads) {
      const int row = i / Shape::kChunks;
      hw::cp_async16(half + Shape::Offset(row, i % Shape::kChunks), data + 16 * i, is_wanted(row));
    }
  } else {
    constexpr int kWords = Shape::kRowBytes / 4;
#pragma unroll
    for (int i = thread; i < kBlockTokens * kWords; i += kThreads) {
      const int row = i / kWords;
      const int word = i % kWords;
      hw::cp_async4(half + Shape::Offset(row, word / 4) + word % 4 * 4, data + 4 * i,
                    is_wanted(row));
    }
  }
  const std::byte* pairs = of_head + 2 * Shape::kCacheDataBytes + (value ? Shape::kPairBytes : 0);
  constexpr int kPairChunks = Shape::kPairBytes / 16;
  if constexpr (Shape::kInt8 && kPairChunks <= kThreads) {  // no loop
    if (thread < kPairChunks) hw::cp_async16(half_pairs + 16 * thread, pairs + 16 * thread);
    return;
  }
#pragma unroll
  for (int i = thread; i < kPairChunks; i += kThreads) {
    hw::cp_async16(half_pairs + 16 * i, pairs + 16 * i);
  }
}

// Where rows do not fill their last chunk: the rest is read as codes of values that do not exist,
// so anything will do, but something must be there.
template <class Shape>
OCTET_DEVICE_BODY void FillRests(unsigned char* halves, int64_t bytes) {
  if constexpr (Shape::kRowBytes % 16 != 0) {
    for (int64_t i = threadIdx.x; i < bytes / 16; i += blockDim.x) {
      *reinterpret_cast<uint4*>(halves + 16 * i) = make_uint4(0, 0, 0, 0);
    }
    __syncthreads();
  }
}

// Waits until at most stages - spare of this thread's copies are under way. 1 <= stages <= 4.
OCTET_DEVICE_BODY void WaitForHalf(int newest) {
  if (newest <= 0) {
    hw::cp_async_wait<0>();
  } else if (newest == 1) {
    hw::cp_async_wait<1>();
  } else {
    hw::cp_async_wait<2>();
  }
}

}  // namespace octet::kernels
