#include "kernels/linear/leaf_parts.h"

#include <algorithm>

#include "base/check.h"

namespace octet::kernels {
namespace {

constexpr int32_t kMixed = -1;  // a sum of leaves of several parts

// A sum on the stack of the whole program: the part that holds it, and its last leaf.
struct Held {
  int32_t part = 0;
  int32_t last_leaf = 0;
};

}  // namespace

LeafParts DealLeaves(const std::vector<int32_t>& merges, int64_t parts) {
  const auto leaves = static_cast<int64_t>(merges.size());
  OCTET_CHECK_GE(leaves, 1);
  OCTET_CHECK_LE(leaves, kPartLeavesMax);
  OCTET_CHECK_GE(parts, 1);
  LeafParts dealt;
  dealt.parts = static_cast<int32_t>(std::min(parts, leaves));
  const std::vector<int64_t> bounds = DealUnits(leaves, dealt.parts, true);
  // The whole program on symbols: an addition belongs to a part if both its sums do.
  std::vector<Held> stack;
  std::vector<uint8_t> across(leaves, 0);    // additions after a leaf that no part can do
  std::vector<bool> is_left(leaves, false);  // a part's own root ends with this leaf
  const auto leave = [&](const Held& held) {
    if (held.part != kMixed) is_left[held.last_leaf] = true;
  };
  for (int32_t part = 0; part < dealt.parts; ++part) {
    dealt.leaf_begin[part] = static_cast<uint8_t>(bounds[part]);
    int32_t held = 0;
    for (auto leaf = static_cast<int32_t>(bounds[part]); leaf < bounds[part + 1]; ++leaf) {
      stack.push_back({part, leaf});
      dealt.depth = std::max(dealt.depth, ++held);
      for (int32_t merge = 0; merge < merges[leaf]; ++merge) {
        const Held right = stack.back();
        stack.pop_back();
        const Held left = stack.back();
        const bool inside = left.part == part && right.part == part;
        if (inside) {
          ++dealt.merges[leaf];
          --held;
        } else {
          ++across[leaf];
          leave(left);
          leave(right);
        }
        stack.back() = {inside ? part : kMixed, leaf};
      }
    }
  }
  dealt.leaf_begin[dealt.parts] = static_cast<uint8_t>(leaves);
  for (const Held& root : stack) leave(root);

  int32_t held = 0;
  for (int32_t part = 0; part < dealt.parts; ++part) {
    dealt.sum_begin[part] = static_cast<uint8_t>(dealt.rest.count);
    for (int64_t leaf = bounds[part]; leaf < bounds[part + 1]; ++leaf) {
      if (!is_left[leaf]) continue;
      dealt.rest.merges[dealt.rest.count++] = across[leaf];
      dealt.rest.depth = std::max(dealt.rest.depth, ++held);
      held -= across[leaf];
    }
  }
  dealt.sum_begin[dealt.parts] = static_cast<uint8_t>(dealt.rest.count);
  dealt.rest.roots = held;
  return dealt;
}

}  // namespace octet::kernels
