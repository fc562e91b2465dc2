// The sum of partial sums in the order of the tree, for an exchange: whose roots lie where, and the
// sum as work on a device (on the CPU: base/ordered_sum.h). It knows nothing of how the roots got
// here.
#pragma once

#include <array>
#include <cstdint>

#include "base/device/stream.h"
#include "base/ordered_sum.h"
#include "base/sum_tree.h"

namespace octet::comm {

// Where a rank's roots lie in the rank-ordered list of all roots.
struct RootShare {
  int64_t total = 0;    // roots of all ranks
  int64_t first = 0;    // the rank's first
  int64_t own = 0;      // the rank's count
  int64_t own_max = 0;  // the largest count of any rank
};

// Checks that `tree` is a program for `ranks` ranks that leaves one sum.
RootShare ShareOf(const ExchangeTree& tree, int rank, int ranks);

// The most partial sums that wait on the stack of a tree's program; a kernel keeps them in
// registers. Trees are bisections of at most 32 leaves, so that theirs are fewer.
inline constexpr int kSumDepthMax = 8;

// The same sum as work on a device, in a form that a kernel takes by value.
struct OrderedSumArgs {
  std::array<const float*, kRootsMax> roots = {};  // [root_count] of [count] f32
  std::array<uint8_t, kRootsMax> merges = {};      // [root_count]
  int32_t root_count = 0;
  int32_t depth = 0;     // the most partial sums that wait at once
  float* out = nullptr;  // [count] f32; may be a root, may not overlap one otherwise
  int64_t count = 0;
};

// The program alone; roots, out and count are the caller's. REQUIRES: what ShareOf checks, and a
// depth of at most kSumDepthMax.
OrderedSumArgs SumProgramOf(const ExchangeTree& tree);

namespace cuda {
// out[k] as above, on the stream's device: the same bits. Moves 4 * (root_count + 1) * count bytes
// and makes root_count - 1 additions for each element.
OCTET_CUDA_OP void OrderedSum(const OrderedSumArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::comm
