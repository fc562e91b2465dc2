// The sum of partial sums in the order of the tree (sum_tree.h) on the CPU: what ranks exchange is
// added here and nowhere else. Pure arithmetic on any thread.
#pragma once

#include <cstdint>
#include <span>

namespace octet {

// Roots of one exchange, over all ranks: every leaf may be a root of its own, and every rank may
// hold a root where a sum is not over leaves (embedding).
inline constexpr int64_t kRootsMax = 64;

// out[k] = the sum of roots[i][k] over all i in the order of `merges`, for k in [begin, end): after
// root i, add the two topmost partial sums merges[i] times, left operand + right operand.
// The bits of out[k] do not depend on begin and end. `out` must not overlap a root.
// REQUIRES: merges.size() = roots.size() <= kRootsMax; the merges leave exactly one sum.
void OrderedSum(std::span<const float* const> roots, std::span<const int32_t> merges, int64_t begin,
                int64_t end, float* out);

}  // namespace octet
