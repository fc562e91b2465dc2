// Sums with a known answer: leaves of random floats, dealt to ranks, and the scalar sum of the
// whole unsharded tree.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "base/sum_tree.h"

namespace octet::comm {

// Magnitudes over 2^12, both signs: wide enough that most orders of addition have bits of their
// own, narrow enough that no addend vanishes.
inline float WildFloat(std::mt19937_64& random) {
  const auto draw = random();
  const float mantissa = 1.0f + static_cast<float>(draw & 0x7fffff) * 0x1p-23f;
  const int exponent = static_cast<int>((draw >> 32) % 12) - 6;
  return std::ldexp((draw >> 63) != 0 ? -mantissa : mantissa, exponent);
}

// The postorder program over `parts` of one element each, `stride` apart.
inline float ScalarTreeSum(const float* parts, int64_t stride, const std::vector<int32_t>& merges) {
  std::array<float, 64> stack;
  size_t depth = 0;
  for (size_t i = 0; i < merges.size(); ++i) {
    stack.at(depth++) = parts[static_cast<int64_t>(i) * stride];
    for (int32_t merge = 0; merge < merges[i]; ++merge) {
      --depth;
      stack[depth - 1] = stack[depth - 1] + stack[depth];
    }
  }
  return stack[0];
}

struct TreeCase {
  std::vector<LeafRange> ranges;  // [ranks]
  ExchangeTree exchange;
  std::vector<std::vector<float>> roots;  // [ranks][roots of the rank, count]
  std::vector<float> sum;                 // [count], of the unsharded tree
};

// How leaves are dealt.
enum class Deal {
  kEven,       // larger shares first
  kEvenLast,   // larger shares last
  kRandom,     // any cuts, empty shares too
  kFirstOnly,  // all to rank 0
  kLastOnly,   // all to the last rank
};

inline std::vector<LeafRange> DealLeaves(int64_t leaves, int ranks, Deal deal,
                                         std::mt19937_64& random) {
  std::vector<int64_t> bounds(ranks + 1, 0);
  if (deal == Deal::kEven || deal == Deal::kEvenLast) {
    bounds = DealUnits(leaves, ranks, deal == Deal::kEven);
  } else {
    for (int r = 1; r < ranks; ++r) {
      if (deal == Deal::kFirstOnly) bounds[r] = leaves;
      if (deal == Deal::kRandom) bounds[r] = static_cast<int64_t>(random() % (leaves + 1));
    }
    bounds[ranks] = leaves;
    std::sort(bounds.begin(), bounds.end());
  }
  std::vector<LeafRange> ranges;
  for (int r = 0; r < ranks; ++r) ranges.push_back({bounds[r], bounds[r + 1]});
  return ranges;
}

inline TreeCase MakeTreeCase(const SumTree& tree, int ranks, Deal deal, int64_t count,
                             uint64_t seed) {
  std::mt19937_64 random(seed);
  TreeCase made;
  made.ranges = DealLeaves(tree.leaf_count(), ranks, deal, random);
  std::vector<float> leaves(tree.leaf_count() * count);
  for (float& value : leaves) value = WildFloat(random);
  const auto whole = tree.MergesWithin({0, tree.leaf_count()});
  for (int64_t k = 0; k < count; ++k) {
    made.sum.push_back(ScalarTreeSum(leaves.data() + k, count, whole));
  }
  for (const LeafRange& range : made.ranges) {
    const std::vector<LeafRange> roots = tree.Roots(range);
    made.exchange.roots_of_rank.push_back(static_cast<int32_t>(roots.size()));
    std::vector<float>& own = made.roots.emplace_back();
    for (const LeafRange& root : roots) {
      const auto merges = tree.MergesWithin(root);
      for (int64_t k = 0; k < count; ++k) {
        own.push_back(ScalarTreeSum(leaves.data() + root.begin * count + k, count, merges));
      }
    }
  }
  made.exchange.merges = tree.MergesAcross(made.ranges);
  return made;
}

}  // namespace octet::comm
