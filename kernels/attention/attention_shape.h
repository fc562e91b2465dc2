// Compile-time shape of a device kernel of attention: one format and head dim. The bytes of one kv
// head's keys (or values) of a block are a "half"; in shared memory a half is 64 rows of 16-byte
// chunks, then the scale and zero pairs [64, groups].
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/attention/attention_plan.h"
#include "kernels/formats/kv_layout.h"

namespace octet::kernels {

inline constexpr int kNarrowTeams = 4;      // of a narrow tile's worker
inline constexpr int kNarrowRowFloats = 7;  // of a quad of a row's state
inline constexpr int kBlockTokens = static_cast<int>(kKvBlockTokens);
inline constexpr int kSplitTokens = static_cast<int>(kKvSplitTokens);
inline constexpr int kSplitBlocks = kSplitTokens / kBlockTokens;
inline constexpr int kWideVectors = static_cast<int>(kAttentionTileVectors);
inline constexpr int kNarrowVectors = static_cast<int>(kAttentionNarrowVectors);
inline constexpr int kFragmentVectors = 4;  // of a matrix operand: 8 columns, two terms each
inline constexpr int kStateTail = static_cast<int>(kAttentionStateTail);

template <KvFormat kKvFormat, int kHeadDim>
struct KvShape {
  static constexpr KvFormat kFormat = kKvFormat;
  static constexpr bool kInt8 = kFormat == KvFormat::kInt8;
  static constexpr bool kInt4 = kFormat == KvFormat::kInt4;
  static constexpr bool kBF16 = kFormat == KvFormat::kBF16;
  static constexpr int kDim = kHeadDim;
  static constexpr int kRowBytes = kInt4 ? kDim / 2 : kInt8 ? kDim : 2 * kDim;
  // Pairs of scale and zero of a vector, as KvLayout::scale_groups().
  static constexpr int kPairs = kInt4 ? (kDim + 31) / 32 : kInt8 ? 1 : 0;
  static constexpr int kGroups = std::max(kPairs, 1);

  static constexpr int kChunks = (kRowBytes + 15) / 16;
  static constexpr int kStride = kChunks * 16;
  static constexpr int kDataBytes = kBlockTokens * kStride;
  static constexpr int kPairBytes = kBlockTokens * kPairs * 4;
  static constexpr int kHalfBytes = kDataBytes + kPairBytes;

  // In the cache.
  static constexpr int kCacheDataBytes = kBlockTokens * kRowBytes;
  static constexpr int kHeadBytes = 2 * (kCacheDataBytes + kPairBytes);

  // Steps of the product with the queries: 16 values of a head in bf16, 32 in int8, a group in
  // int4.
  static constexpr int kQuerySteps = kInt4 ? kGroups : (kRowBytes + 31) / 32;
  // Tiles of 16 values of the output. int4 has two for each group, the last may be half empty.
  static constexpr int kTiles = kInt4 ? 2 * kGroups : kDim / 16;
  static constexpr int kTilesPerGroup = kTiles / kGroups;

  // A block's results for one vector, exchanged between warps: the values, and a pad against bank
  // conflicts. They take the place of the values they were computed from.
  static constexpr int kPartialFloats = kDim + 8;
  static_assert(kNarrowVectors * kPartialFloats * 4 <= kHalfBytes);
  // Maximum, sum, and for each group the sum of zeros and the step of the codes.
  static constexpr int kPartialTail = 2 + 2 * kGroups;

  // Chunk `chunk` of row `row` of a half. Eight rows at one chunk fall into different banks, as do
  // neighbouring chunks of one row.
  static constexpr int kTwos = kChunks % 8 == 0   ? 3
                               : kChunks % 4 == 0 ? 2
                               : kChunks % 2 == 0 ? 1
                                                  : 0;
  static constexpr int Offset(int row, int chunk) {
    const int swizzle = (row >> (3 - kTwos)) & ((1 << kTwos) - 1);
    return row * kStride + (chunk ^ swizzle) * 16;
  }

  // Wide tiles: warps, which have the vectors' fragments between them. Eight of the other formats
  // would have too few registers.
  static constexpr int kWideWarps = kInt8 ? 8 : 4;
  static constexpr int kWideThreads = 32 * kWideWarps;
  static constexpr int kWideFragments = kWideVectors / kWideWarps / kFragmentVectors;

  // Floats of one lane's row states while wide tiles walk their splits: maximum, sum, sums of zeros
  // and values; and of the split's: sum and sums of zeros. For each of its vectors.
  static constexpr int kRowFloats = 2 + kGroups + 2 * kTiles;
  static constexpr int kLaneVectorFloats = kRowFloats + 1 + kGroups;
  // Steps whose query operands wide tiles keep in shared memory for want of registers.
  static constexpr int kSharedSteps = kDim < 96 ? 0
                                      : kBF16   ? kQuerySteps - 2
                                      : kInt8   ? kQuerySteps - 1
                                                : kQuerySteps;
  static constexpr int kWideLaneFloats = kWideFragments * kLaneVectorFloats;
  static constexpr int kWideQueryWords = kWideFragments * kSharedSteps;  // pairs of words

  // Narrow tiles: warps of a team, which share a block of the context and have the vectors'
  // fragments between them. One warp of the other formats has registers for both.
  static constexpr int kTeamWarps = kInt8 ? 2 : 1;
  static constexpr int kTeamThreads = 32 * kTeamWarps;
  static constexpr int kNarrowThreads = kNarrowTeams * kTeamThreads;
  // Registers of two warps are short: their queries are rounded once for all teams, and shared.
  static constexpr bool kSharesQueries = kTeamWarps == 2;
  static constexpr int kNarrowQuads =  // of the values of all vectors, for a thread
      (kNarrowVectors * (kDim / 4) + kNarrowThreads - 1) / kNarrowThreads;

  // Dynamic and static shared memory.
  static constexpr int64_t NarrowBytes(int stages) {
    return int64_t{stages} * kNarrowTeams * kHalfBytes;
  }
  static constexpr int64_t kSharedQueryBytes =
      (kSharesQueries ? kQuerySteps : 1) * (kNarrowVectors / kFragmentVectors) * 32 * 8 +
      kNarrowVectors * 12 + 2 * static_cast<int64_t>(sizeof(AttentionItem));
  static constexpr int64_t kNarrowStaticBytes =
      (kNarrowTeams * (kNarrowVectors * kPartialTail + 1) +
       kNarrowRowFloats * kNarrowQuads * kNarrowThreads) *
          4 +
      kSharedQueryBytes + 64;
  // Tensor copies (sm_90) bring rows of 128 bytes as they lie in a half. Beside the above such a
  // kernel has barriers, and halves aligned to a kilobyte.
  static constexpr bool kBoxes = kInt8 && kRowBytes == 128;
  static constexpr int64_t kBoxStaticBytes = kNarrowStaticBytes + 256 + 1024;
  static constexpr int64_t WideBytes(int stages) {
    return int64_t{stages} * kHalfBytes +
           int64_t{kWideLaneFloats + 2 * kWideQueryWords} * kWideThreads * 4;
  }
  static constexpr int64_t kWideStaticBytes = 64;
};

// How a device runs a kernel: halves in flight for each team (narrow, 1 to 3) or for a block of
// threads (wide, 2 to 4), dynamic shared memory, blocks of threads on a processor.
struct AttentionLaunch {
  int stages = 0;
  int blocks_per_processor = 0;
  int64_t shared_bytes = 0;
};

// Two blocks with as many stages as fit, or one where two would have too few.
template <typename Bytes>
constexpr AttentionLaunch BestLaunch(int64_t room, int64_t static_bytes, int stages_min,
                                     int stages_of_two, int stages_max, const Bytes& bytes) {
  // A processor has a kilobyte more than one block may ask for, and keeps a kilobyte for each.
  const int64_t room_of_two = (room + 1024) / 2 - 1024;
  AttentionLaunch launch;
  for (int stages = stages_min; stages <= stages_max; ++stages) {
    if (bytes(stages) + static_bytes <= room) launch = {stages, 1, bytes(stages)};
  }
  for (int stages = stages_of_two; stages <= stages_max; ++stages) {
    if (bytes(stages) + static_bytes <= room_of_two) launch = {stages, 2, bytes(stages)};
  }
  return launch;
}
template <class Shape>
constexpr AttentionLaunch NarrowLaunch(int64_t room) {
  return BestLaunch(room, Shape::kNarrowStaticBytes, 1, 2, 3, Shape::NarrowBytes);
}
// No stages where there is no room, or where the kernel does not exist.
inline constexpr int kBoxStages = 3;
template <class Shape>
constexpr AttentionLaunch BoxLaunch(int64_t room) {
  if (!Shape::kBoxes) return {};
  return BestLaunch(room, Shape::kBoxStaticBytes, kBoxStages, kBoxStages, kBoxStages,
                    Shape::NarrowBytes);
}
template <class Shape>
constexpr AttentionLaunch WideLaunch(int64_t room) {
  return BestLaunch(room, Shape::kWideStaticBytes, 2, 2, 4, Shape::WideBytes);
}

// Calls function(KvShape) of the format and head dim; false where there is no kernel.
template <KvFormat kFormat, typename Function>
bool WithDim(int64_t head_dim, const Function& function) {
  switch (head_dim) {
    case 32:
      return function(KvShape<kFormat, 32>()), true;
    case 64:
      return function(KvShape<kFormat, 64>()), true;
    case 80:
      return function(KvShape<kFormat, 80>()), true;
    case 96:
      return function(KvShape<kFormat, 96>()), true;
    case 128:
      return function(KvShape<kFormat, 128>()), true;
    default:
      return false;
  }
}
template <typename Function>
bool WithShape(const KvLayout& layout, const Function& function) {
  switch (layout.format) {
    case KvFormat::kInt8:
      return WithDim<KvFormat::kInt8>(layout.head_dim, function);
    case KvFormat::kInt4:
      return WithDim<KvFormat::kInt4>(layout.head_dim, function);
    case KvFormat::kBF16:
      return WithDim<KvFormat::kBF16>(layout.head_dim, function);
  }
  return false;
}

}  // namespace octet::kernels
