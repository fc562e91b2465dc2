#include "comm/ordered_sum.h"

#include <algorithm>

#include "base/check.h"

namespace octet::comm {

RootShare ShareOf(const ExchangeTree& tree, int rank, int ranks) {
  OCTET_CHECK_EQ(static_cast<int>(tree.roots_of_rank.size()), ranks);
  RootShare share;
  for (int r = 0; r < ranks; ++r) {
    const int64_t roots = tree.roots_of_rank[r];
    if (r == rank) {
      share.first = share.total;
      share.own = roots;
    }
    share.total += roots;
    share.own_max = std::max(share.own_max, roots);
  }
  OCTET_CHECK_GE(share.total, 1);
  OCTET_CHECK_LE(share.total, kRootsMax);
  OCTET_CHECK_EQ(static_cast<int64_t>(tree.merges.size()), share.total);
  int64_t depth = 0;
  for (const int32_t merges : tree.merges) {
    depth += 1 - merges;
    OCTET_CHECK_GE(depth, 1);
  }
  OCTET_CHECK_EQ(depth, 1);
  return share;
}

OrderedSumArgs SumProgramOf(const ExchangeTree& tree) {
  OrderedSumArgs args;
  args.root_count = static_cast<int32_t>(tree.merges.size());
  OCTET_CHECK_LE(static_cast<int64_t>(args.root_count), kRootsMax);
  int32_t depth = 0;
  for (int32_t i = 0; i < args.root_count; ++i) {
    args.depth = std::max(args.depth, ++depth);
    args.merges[i] = static_cast<uint8_t>(tree.merges[i]);
    depth -= tree.merges[i];
  }
  OCTET_CHECK_LE(args.depth, kSumDepthMax);
  return args;
}

}  // namespace octet::comm
