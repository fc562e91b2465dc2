// How the leaves of a linear are dealt to the thread blocks of a GPU. A part is a run of leaves
// that one block evaluates; what the tree lets it add inside the part it adds there, and the sums
// that are left (the part's own roots) are added to those of the other parts in the tree's order.
// So the bits do not depend on the number of parts.
//
// Pure and on the host; the programs are plain arrays that go to kernels by value.
#pragma once

#include <cstdint>
#include <vector>

#include "base/sum_tree.h"

namespace octet::kernels {

inline constexpr int64_t kPartLeavesMax = kLeafCountMax;

// A postorder program over `count` sums: after sum i, add the two topmost `merges[i]` times.
struct SumProgram {
  int32_t count = 0;
  int32_t roots = 0;
  int32_t depth = 0;  // the most sums held at once
  uint8_t merges[kPartLeavesMax] = {};
};

struct LeafParts {
  int32_t parts = 0;
  int32_t depth = 0;                            // the most sums one part holds at once
  uint8_t leaf_begin[kPartLeavesMax + 1] = {};  // [parts + 1] leaves of a part
  uint8_t sum_begin[kPartLeavesMax + 1] = {};   // [parts + 1] first of the sums that it leaves
  uint8_t merges[kPartLeavesMax] = {};          // [leaves] additions inside a part after a leaf
  SumProgram rest;                              // over the sums of all parts, in order
};

// Deals leaves as evenly as they allow to at most `parts` parts. `merges` is LinearShape::merges.
// REQUIRES: 1..kPartLeavesMax leaves, parts >= 1.
LeafParts DealLeaves(const std::vector<int32_t>& merges, int64_t parts);

}  // namespace octet::kernels
