#include "worker/weights/packed/checksum.h"

#include <algorithm>
#include <cstdio>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace octet::worker {
namespace {

struct Chunk {
  int64_t begin = 0;
  int64_t bytes = 0;
};

Checksum Sum(const void* data, int64_t bytes) {
  const XXH128_hash_t hash = XXH3_128bits(data, static_cast<size_t>(bytes));
  return {hash.low64, hash.high64};
}

}  // namespace

std::string Checksum::Hex() const {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(low));
  return text;
}

Checksum ChecksumOf(std::string_view bytes) {
  return Sum(bytes.data(), static_cast<int64_t>(bytes.size()));
}

std::vector<Checksum> ChecksumsOf(std::span<const WeightPart> parts, const FetchChunk& fetch,
                                  ThreadPool& pool) {
  std::vector<Chunk> chunks;
  for (const WeightPart& part : parts) {
    for (int64_t done = 0; done < part.bytes; done += kChecksumChunkBytes) {
      chunks.push_back({part.begin + done, std::min(kChecksumChunkBytes, part.bytes - done)});
    }
  }
  std::vector<Checksum> of_chunk(chunks.size());
  pool.ParallelFor(static_cast<int64_t>(chunks.size()), /*grain=*/1,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) {
                       const std::byte* const data = fetch(chunks[i].begin, chunks[i].bytes);
                       if (data != nullptr) of_chunk[i] = Sum(data, chunks[i].bytes);
                     }
                   });
  std::vector<Checksum> sums;
  sums.reserve(parts.size());
  const Checksum* next = of_chunk.data();
  for (const WeightPart& part : parts) {
    const int64_t count = (part.bytes + kChecksumChunkBytes - 1) / kChecksumChunkBytes;
    sums.push_back(Sum(next, count * int64_t{sizeof(Checksum)}));
    next += count;
  }
  return sums;
}

}  // namespace octet::worker
