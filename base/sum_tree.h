// The order in which partial sums are added, fixed by the unsharded input alone.
//
// A linear layer cuts its inputs into leaves by recursive bisection over grains, the larger half
// first. A leaf is summed by itself; leaves are added up the tree, within a rank and then across
// ranks. Since neither batch size nor TP degree enters, a result has the same bits at every degree.
//
// Trees are handed to kernels and to comm as a postorder program: after leaf (or root) i, add the
// two topmost partial sums `merges[i]` times.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace octet {

inline constexpr int64_t kGrainInputs = 128;    // inputs of one grain, whatever the weight's group
inline constexpr int64_t kLeafInputsMin = 512;  // a leaf aims at no fewer inputs than this
inline constexpr int64_t kLeafCountMin = 8;     // ... unless there would be fewer leaves than this
inline constexpr int64_t kLeafCountMax = 32;

// The number of leaves asked of a linear of `inputs`: a power of two in [8, 32]. The tree may have
// fewer, as a node of one grain is not split.
int64_t LeafTarget(int64_t inputs);

// A run of leaves that one rank holds.
struct LeafRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t count() const { return end - begin; }
  bool operator==(const LeafRange&) const = default;
};

class SumTree {
 public:
  // The tree of every linear but the attention output: grains of 128 inputs, the last may be short.
  static SumTree OverInputs(int64_t inputs);
  // The tree of the attention output: grains are kv heads, then query heads inside one kv head.
  static SumTree OverHeads(int64_t heads, int64_t kv_heads, int64_t head_dim);

  int64_t leaf_count() const { return static_cast<int64_t>(bounds_.size()) - 1; }
  int64_t inputs() const { return bounds_.back(); }
  // Leaf i covers inputs [bounds()[i], bounds()[i + 1]).
  const std::vector<int64_t>& bounds() const { return bounds_; }

  // The maximal subtrees inside `range`, in order: what a rank sends.
  std::vector<LeafRange> Roots(LeafRange range) const;
  // The postorder program that evaluates each root of `range` by itself, one entry per leaf.
  std::vector<int32_t> MergesWithin(LeafRange range) const;
  // The postorder program over all ranks' roots in rank order, one entry per root.
  // REQUIRES: `ranges` are consecutive and cover all leaves; empty ranges are allowed.
  std::vector<int32_t> MergesAcross(std::span<const LeafRange> ranges) const;

 private:
  struct Node {
    LeafRange leaves;
    int32_t left = -1;  // -1: a leaf
    int32_t right = -1;
  };
  template <typename Split>
  int32_t Build(int64_t begin, int64_t end, int64_t leaves, const Split& split);

  std::vector<int64_t> bounds_;
  std::vector<Node> nodes_;
  int32_t root_ = -1;
};

// What comm needs to add the ranks' partial sums: how many roots each rank sends, and the postorder
// program over all of them in rank order.
struct ExchangeTree {
  std::vector<int32_t> roots_of_rank;  // [ranks]
  std::vector<int32_t> merges;         // [sum of roots_of_rank]
};

// Deals `units` indivisible units to `ranks`, as evenly as they allow, in order; the larger shares
// go to the first ranks or to the last. Returns ranks + 1 bounds.
std::vector<int64_t> DealUnits(int64_t units, int64_t ranks, bool larger_first);

}  // namespace octet
