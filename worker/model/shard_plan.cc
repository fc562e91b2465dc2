#include "worker/model/shard_plan.h"

#include <algorithm>
#include <string>

namespace octet::worker {
namespace {

Status CheckDegree(const ModelSpec& spec, int64_t ranks, int64_t limit, const char* linear) {
  if (ranks <= limit) return {};
  return InvalidArgument(spec.architecture + " with " + std::to_string(spec.heads) + " heads, " +
                         std::to_string(spec.kv_heads) + " kv heads and an ffn of " +
                         std::to_string(spec.ffn) + " can not run on " + std::to_string(ranks) +
                         " ranks: the limit is " + std::to_string(limit) + ", the leaves of its " +
                         linear);
}

// True where every boundary between kv heads is one between leaves.
bool LeavesRespectKvHeads(const SumTree& tree, int64_t kv_heads) {
  const int64_t kv_inputs = tree.inputs() / kv_heads;
  for (int64_t kv = 1; kv < kv_heads; ++kv) {
    if (!std::binary_search(tree.bounds().begin(), tree.bounds().end(), kv * kv_inputs)) {
      return false;
    }
  }
  return true;
}

std::vector<LeafRange> RangesOf(const std::vector<int64_t>& bounds) {
  std::vector<LeafRange> ranges;
  for (size_t i = 0; i + 1 < bounds.size(); ++i) ranges.push_back({bounds[i], bounds[i + 1]});
  return ranges;
}

// Every rank's run of attention leaves. kv heads are not cut while there are enough of them for all
// ranks, unless a leaf holds several: then leaves are the units.
std::vector<LeafRange> DealAttention(const SumTree& tree, int64_t kv_heads, int64_t ranks) {
  if (ranks > kv_heads || !LeavesRespectKvHeads(tree, kv_heads)) {
    return RangesOf(DealUnits(tree.leaf_count(), ranks, /*larger_first=*/true));
  }
  const int64_t kv_inputs = tree.inputs() / kv_heads;
  std::vector<int64_t> bounds = DealUnits(kv_heads, ranks, /*larger_first=*/true);
  for (int64_t& bound : bounds) {
    const auto leaf =
        std::lower_bound(tree.bounds().begin(), tree.bounds().end(), bound * kv_inputs);
    bound = leaf - tree.bounds().begin();
  }
  return RangesOf(bounds);
}

ExchangeTree ExchangeOf(const SumTree& tree, const std::vector<LeafRange>& ranges) {
  ExchangeTree exchange;
  for (const LeafRange& range : ranges) {
    exchange.roots_of_rank.push_back(static_cast<int32_t>(tree.Roots(range).size()));
  }
  exchange.merges = tree.MergesAcross(ranges);
  return exchange;
}

// One root per rank, added left to right: all but one of them are zeros, so any order is exact.
ExchangeTree ChainOf(int64_t ranks) {
  ExchangeTree exchange;
  exchange.roots_of_rank.assign(ranks, 1);
  exchange.merges.assign(ranks, 1);
  exchange.merges[0] = 0;
  return exchange;
}

// Local query heads of each local kv head, in order.
std::vector<kernels::HeadGroup> GroupsOf(const ShardPlan& plan, int64_t heads_of_kv_head) {
  std::vector<kernels::HeadGroup> groups;
  for (int64_t kv = plan.kv_head_begin; kv < plan.kv_head_end; ++kv) {
    const int64_t begin = std::max(kv * heads_of_kv_head, plan.head_begin);
    const int64_t end = std::min((kv + 1) * heads_of_kv_head, plan.head_end);
    groups.push_back({.kv_head = static_cast<int32_t>(kv - plan.kv_head_begin),
                      .head_begin = static_cast<int32_t>(begin - plan.head_begin),
                      .head_count = static_cast<int32_t>(end - begin)});
  }
  return groups;
}

}  // namespace

Result<ShardPlan> ShardPlan::Make(const ModelSpec& spec, int64_t ranks, int64_t rank) {
  if (ranks < 1 || ranks > kRanksMax) {
    return InvalidArgument("tensor-parallel degree " + std::to_string(ranks) + " is outside [1, " +
                           std::to_string(kRanksMax) + "]");
  }
  if (rank < 0 || rank >= ranks) {
    return InvalidArgument("rank " + std::to_string(rank) + " is outside [0, " +
                           std::to_string(ranks) + ")");
  }
  ShardPlan plan;
  plan.ranks = ranks;
  plan.rank = rank;
  plan.attention_tree = SumTree::OverHeads(spec.heads, spec.kv_heads, spec.head_dim);
  plan.ffn_tree = SumTree::OverInputs(spec.ffn);
  plan.hidden_tree = SumTree::OverInputs(spec.hidden);
  OCTET_RETURN_IF_ERROR(
      CheckDegree(spec, ranks, plan.attention_tree.leaf_count(), "attention output"));
  OCTET_RETURN_IF_ERROR(CheckDegree(spec, ranks, plan.ffn_tree.leaf_count(), "down projection"));

  const std::vector<LeafRange> attention = DealAttention(plan.attention_tree, spec.kv_heads, ranks);
  plan.attention_leaves = attention[rank];
  plan.attention_exchange = ExchangeOf(plan.attention_tree, attention);
  const int64_t heads_of_kv_head = spec.heads / spec.kv_heads;
  plan.head_begin = plan.attention_tree.bounds()[attention[rank].begin] / spec.head_dim;
  plan.head_end = plan.attention_tree.bounds()[attention[rank].end] / spec.head_dim;
  plan.kv_head_begin = plan.head_begin / heads_of_kv_head;
  plan.kv_head_end = (plan.head_end + heads_of_kv_head - 1) / heads_of_kv_head;
  plan.head_groups = GroupsOf(plan, heads_of_kv_head);

  const std::vector<LeafRange> ffn =
      RangesOf(DealUnits(plan.ffn_tree.leaf_count(), ranks, /*larger_first=*/false));
  plan.ffn_leaves = ffn[rank];
  plan.ffn_exchange = ExchangeOf(plan.ffn_tree, ffn);
  plan.ffn_begin = plan.ffn_tree.bounds()[ffn[rank].begin];
  plan.ffn_end = plan.ffn_tree.bounds()[ffn[rank].end];

  const int64_t tiles = (spec.vocab + kVocabTile - 1) / kVocabTile;
  plan.vocab_bounds = DealUnits(tiles, ranks, /*larger_first=*/true);
  for (int64_t& bound : plan.vocab_bounds) bound = std::min(bound * kVocabTile, spec.vocab);
  plan.vocab_begin = plan.vocab_bounds[rank];
  plan.vocab_end = plan.vocab_bounds[rank + 1];
  plan.embedding_exchange = ChainOf(ranks);
  return plan;
}

}  // namespace octet::worker
