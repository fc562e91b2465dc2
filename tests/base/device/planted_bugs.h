// Kernels with a bug each, to see that the emulator finds it. Bug::kNone is the kernel as it should
// be.
#pragma once

#include <cstdint>

#include "base/device/stream.h"

namespace octet::planted {

enum class Bug {
  kNone,
  // BlockSum
  kNoBarrierBeforeRead,
  kNoBarrierBeforeOverwrite,
  kReadPastEnd,
  kWritePastEnd,
  kSharedIndex,
  kSharedPartOverrun,
  kReturnBeforeBarrier,
  kHalfWarpInShuffle,
  kLanesLeaveBallot,
  kNeverWritten,
  kBarrierCount,
  kTwoWritersOfOneWord,
  kTooMuchShared,
  kTooMuchSharedForSm80,
  // TileProduct: cp.async, ldmatrix, mma
  kNoCopyWait,
  kNoTailCommit,
  kCopyPastEnd,
  kOverwriteInFlight,
  kNoWarpBarrier,
  kWrongColumn,
  // Ring: bulk copies and barriers in memory
  kNoWaitForFull,
  kNoWaitForEmpty,
  kWrongParity,
  kWrongBytes,
  kNotInitialised,
  kArriveTwice,
  // GroupProduct: wgmma
  kNoProductWait,
  kNoProductFence,
  kRegistersChanged,
  kAccumulatorsTouched,
  kTileOverwritten,
  kReleasedBeforeWait,
  kNoProxyFence,
  kWrongStride,
  // Box: tensor copies
  kNoWaitForBox,
  kBoxNotAligned,
  kMapPastEnd,
  // Spin
  kNeverReleased,
  // ClusterSum
  kLeavesCluster,
  kNoClusterBarrier,
  // Early: a launch that begins before the one ahead has ended
  kReadsBeforePast,
  kCopiesBeforePast,
  kWritesBeforePast,
  kNeverWaitsForPast,
};

// All on one block; each writes `out`, which is right with Bug::kNone.
// in [count] -> out [ceil(count / 64)]: sums of 64.
void BlockSum(Bug bug, const uint32_t* in, int count, uint32_t* out, Stream& stream);
// a [tiles, 16, 16] bf16, b [tiles, 8, 16] bf16 -> out [16, 8] float: the sum of a * b^T.
void TileProduct(Bug bug, const uint16_t* a, const uint16_t* b, int tiles, float* out,
                 Stream& stream);
// in [rounds, 64] -> out [64]: sums over the rounds.
void Ring(Bug bug, const uint32_t* in, int rounds, uint32_t* out, Stream& stream);
// a [64, 32] s8, b [rounds, 16, 32] s8 -> out [64, 16]: the sum of a * b^T.
void GroupProduct(Bug bug, const int8_t* a, const int8_t* b, int rounds, int32_t* out,
                  Stream& stream);
// in [32, 64] of 16 bits -> out [64]: sums over the rows.
void Box(Bug bug, const uint16_t* in, uint32_t* out, Stream& stream);
void Spin(Bug bug, uint32_t* counter, Stream& stream);
// 2 clusters of 4 blocks; out [2, 4], 0 before: each has the sum of its cluster's block numbers.
void ClusterSum(Bug bug, uint32_t* out, Stream& stream);
// in [32] -> between [32]: in + 1 -> out [32]: between + 1, in two launches.
void Early(Bug bug, const uint32_t* in, uint32_t* between, uint32_t* out, Stream& stream);

}  // namespace octet::planted
