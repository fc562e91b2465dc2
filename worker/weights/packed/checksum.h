// Checksums of packed weights: XXH3 with 128 bits, at the speed of memory on all threads of a pool.
// They find accidents (a flipped bit, a page that was never written), not a forger.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "worker/model/decoder_weights.h"

namespace octet::worker {

struct Checksum {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Checksum&) const = default;
  std::string Hex() const;  // 32 digits
};

Checksum ChecksumOf(std::string_view bytes);

// Bytes of a part that are summed at once; a part's checksum is that of its chunks' checksums.
inline constexpr int64_t kChecksumChunkBytes = int64_t{1} << 20;

// Where bytes [begin, begin + bytes) of the arena lie, or null when they can not be had. Called
// once for every chunk, from all threads.
using FetchChunk = std::function<const std::byte*(int64_t begin, int64_t bytes)>;

// One checksum for each part. A part of which a chunk could not be had has another than it should.
std::vector<Checksum> ChecksumsOf(std::span<const WeightPart> parts, const FetchChunk& fetch,
                                  ThreadPool& pool);

}  // namespace octet::worker
