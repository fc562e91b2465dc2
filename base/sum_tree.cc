#include "base/sum_tree.h"

#include <algorithm>

#include "base/check.h"

namespace octet {

int64_t LeafTarget(int64_t inputs) {
  int64_t leaves = kLeafCountMin;
  while (leaves < kLeafCountMax && inputs / (leaves * 2) >= kLeafInputsMin) leaves *= 2;
  return leaves;
}

// Splits inputs [begin, end) into `leaves` leaves; `split(begin, end)` gives the cut, or a value
// outside (begin, end) where the run may not be cut.
template <typename Split>
int32_t SumTree::Build(int64_t begin, int64_t end, int64_t leaves, const Split& split) {
  const int64_t cut = leaves > 1 ? split(begin, end) : begin;
  const auto id = static_cast<int32_t>(nodes_.size());
  nodes_.emplace_back();
  if (cut <= begin || cut >= end) {
    const auto leaf = static_cast<int64_t>(bounds_.size()) - 1;
    nodes_[id].leaves = {leaf, leaf + 1};
    bounds_.push_back(end);
    return id;
  }
  const int32_t left = Build(begin, cut, leaves / 2, split);
  const int32_t right = Build(cut, end, leaves / 2, split);
  nodes_[id].left = left;
  nodes_[id].right = right;
  nodes_[id].leaves = {nodes_[left].leaves.begin, nodes_[right].leaves.end};
  return id;
}

SumTree SumTree::OverInputs(int64_t inputs) {
  OCTET_CHECK_GT(inputs, 0);
  SumTree tree;
  tree.bounds_.push_back(0);
  const auto split = [](int64_t begin, int64_t end) {
    const int64_t grains = (end - begin + kGrainInputs - 1) / kGrainInputs;
    return begin + (grains + 1) / 2 * kGrainInputs;
  };
  tree.root_ = tree.Build(0, inputs, LeafTarget(inputs), split);
  return tree;
}

SumTree SumTree::OverHeads(int64_t heads, int64_t kv_heads, int64_t head_dim) {
  OCTET_CHECK_GT(kv_heads, 0);
  OCTET_CHECK_EQ(heads % kv_heads, 0);
  SumTree tree;
  tree.bounds_.push_back(0);
  const int64_t group = heads / kv_heads * head_dim;  // inputs of one kv head's query heads
  const auto split = [group, head_dim](int64_t begin, int64_t end) {
    const int64_t grain = end - begin > group ? group : head_dim;
    const int64_t grains = (end - begin) / grain;
    return begin + (grains + 1) / 2 * grain;
  };
  int64_t leaves = LeafTarget(heads * head_dim);
  while (leaves > heads) leaves /= 2;
  tree.root_ = tree.Build(0, heads * head_dim, leaves, split);
  return tree;
}

std::vector<LeafRange> SumTree::Roots(LeafRange range) const {
  std::vector<LeafRange> roots;
  const auto visit = [&](const auto& self, int32_t id) -> void {
    const Node& node = nodes_[id];
    if (node.leaves.end <= range.begin || node.leaves.begin >= range.end) return;
    if (node.leaves.begin >= range.begin && node.leaves.end <= range.end) {
      roots.push_back(node.leaves);
      return;
    }
    self(self, node.left);
    self(self, node.right);
  };
  visit(visit, root_);
  return roots;
}

std::vector<int32_t> SumTree::MergesWithin(LeafRange range) const {
  std::vector<int32_t> merges(range.count(), 0);
  for (const Node& node : nodes_) {
    const bool inside = node.leaves.begin >= range.begin && node.leaves.end <= range.end;
    if (node.left >= 0 && inside) ++merges[node.leaves.end - 1 - range.begin];
  }
  return merges;
}

std::vector<int32_t> SumTree::MergesAcross(std::span<const LeafRange> ranges) const {
  std::vector<LeafRange> roots;
  int64_t next = 0;
  for (const LeafRange& range : ranges) {
    OCTET_CHECK_EQ(range.begin, next);
    next = range.end;
    const std::vector<LeafRange> own = Roots(range);
    roots.insert(roots.end(), own.begin(), own.end());
  }
  OCTET_CHECK_EQ(next, leaf_count());
  std::vector<int32_t> merges(roots.size(), 0);
  for (const Node& node : nodes_) {
    if (node.left < 0) continue;
    // A node inside one rank's root was merged there.
    const auto root = std::find_if(roots.begin(), roots.end(),
                                   [&](const LeafRange& r) { return r.end == node.leaves.end; });
    const bool within = std::any_of(roots.begin(), roots.end(), [&](const LeafRange& r) {
      return r.begin <= node.leaves.begin && r.end >= node.leaves.end;
    });
    if (!within) ++merges[root - roots.begin()];
  }
  return merges;
}

std::vector<int64_t> DealUnits(int64_t units, int64_t ranks, bool larger_first) {
  std::vector<int64_t> bounds(ranks + 1, 0);
  const int64_t share = units / ranks;
  const int64_t rest = units % ranks;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const bool larger = larger_first ? rank < rest : rank >= ranks - rest;
    bounds[rank + 1] = bounds[rank] + share + (larger ? 1 : 0);
  }
  return bounds;
}

}  // namespace octet
