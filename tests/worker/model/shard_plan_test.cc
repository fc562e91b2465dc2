#include "worker/model/shard_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/worker/model/shard_cases.h"

namespace octet::worker {
namespace {

// All ranks' plans, or nothing where the degree is refused.
std::vector<ShardPlan> Plans(const ModelSpec& spec, int64_t ranks) {
  std::vector<ShardPlan> plans;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    auto plan = ShardPlan::Make(spec, ranks, rank);
    if (!plan.ok()) return {};
    plans.push_back(std::move(plan).value());
  }
  return plans;
}

void ExpectHeadGroupsCover(const ShardPlan& plan, const ModelSpec& spec) {
  const int64_t heads_of_kv_head = spec.heads / spec.kv_heads;
  int64_t next = 0;
  for (const kernels::HeadGroup& group : plan.head_groups) {
    EXPECT_EQ(group.head_begin, next);
    EXPECT_GT(group.head_count, 0);
    EXPECT_LT(group.kv_head, plan.kv_heads());
    for (int32_t i = 0; i < group.head_count; ++i) {
      const int64_t head = plan.head_begin + group.head_begin + i;
      EXPECT_EQ(plan.kv_head_begin + group.kv_head, head / heads_of_kv_head);
    }
    next += group.head_count;
  }
  EXPECT_EQ(next, plan.heads());
}

// The postorder program of an exchange, run on names: what is added to what.
std::string Evaluate(const std::vector<std::string>& roots, const std::vector<int32_t>& merges) {
  std::vector<std::string> stack;
  for (size_t i = 0; i < roots.size(); ++i) {
    stack.push_back(roots[i]);
    for (int32_t m = 0; m < merges[i]; ++m) {
      const std::string right = stack.back();
      stack.pop_back();
      stack.back() = "(" + stack.back() + "+" + right + ")";
    }
  }
  EXPECT_EQ(stack.size(), 1u);
  return stack.back();
}

// The sum over all leaves as one rank would do it, and as the ranks do it together.
void ExpectSameSum(const SumTree& tree, const std::vector<LeafRange>& ranges,
                   const ExchangeTree& exchange) {
  std::vector<std::string> leaves;
  for (int64_t i = 0; i < tree.leaf_count(); ++i) leaves.push_back(std::to_string(i));
  const std::string whole = Evaluate(leaves, tree.MergesWithin({0, tree.leaf_count()}));
  std::vector<std::string> roots;
  ASSERT_EQ(exchange.roots_of_rank.size(), ranges.size());
  for (size_t rank = 0; rank < ranges.size(); ++rank) {
    const std::vector<LeafRange> own = tree.Roots(ranges[rank]);
    EXPECT_EQ(exchange.roots_of_rank[rank], static_cast<int32_t>(own.size()));
    for (const LeafRange& root : own) {
      const std::vector<std::string> part(leaves.begin() + root.begin, leaves.begin() + root.end);
      roots.push_back(Evaluate(part, tree.MergesWithin(root)));
    }
  }
  EXPECT_EQ(Evaluate(roots, exchange.merges), whole);
}

void ExpectSound(const ModelSpec& spec, const std::vector<ShardPlan>& plans) {
  SCOPED_TRACE(spec.architecture + " heads " + std::to_string(spec.heads) + "/" +
               std::to_string(spec.kv_heads) + " x " + std::to_string(spec.head_dim) + " ffn " +
               std::to_string(spec.ffn) + " ranks " + std::to_string(plans.size()));
  int64_t head = 0, ffn = 0, vocab = 0;
  std::vector<LeafRange> attention, down;
  for (const ShardPlan& plan : plans) {
    EXPECT_EQ(plan.head_begin, head);
    EXPECT_EQ(plan.ffn_begin, ffn);
    EXPECT_EQ(plan.vocab_begin, vocab);
    EXPECT_EQ(plan.vocab_bounds, plans[0].vocab_bounds);
    EXPECT_EQ(plan.vocab_begin, plan.vocab_bounds[plan.rank]);
    EXPECT_TRUE(plan.vocab_begin % kVocabTile == 0 || plan.vocab_begin == spec.vocab);
    head = plan.head_end;
    ffn = plan.ffn_end;
    vocab = plan.vocab_end;
    EXPECT_EQ(plan.attention_tree.bounds()[plan.attention_leaves.begin],
              plan.head_begin * spec.head_dim);
    EXPECT_EQ(plan.attention_tree.bounds()[plan.attention_leaves.end],
              plan.head_end * spec.head_dim);
    EXPECT_EQ(plan.ffn_tree.bounds()[plan.ffn_leaves.end], plan.ffn_end);
    EXPECT_EQ(plan.attention_exchange.merges, plans[0].attention_exchange.merges);
    EXPECT_EQ(plan.ffn_exchange.merges, plans[0].ffn_exchange.merges);
    attention.push_back(plan.attention_leaves);
    down.push_back(plan.ffn_leaves);
    ExpectHeadGroupsCover(plan, spec);
  }
  EXPECT_EQ(head, spec.heads);
  EXPECT_EQ(ffn, spec.ffn);
  EXPECT_EQ(vocab, spec.vocab);
  ExpectSameSum(plans[0].attention_tree, attention, plans[0].attention_exchange);
  ExpectSameSum(plans[0].ffn_tree, down, plans[0].ffn_exchange);
}

TEST(ShardPlan, RealModelsRunOnOneToEightRanks) {
  for (const ModelSpec& spec : RealSpecs()) {
    for (int64_t ranks = 1; ranks <= 8; ++ranks) {
      const std::vector<ShardPlan> plans = Plans(spec, ranks);
      ASSERT_FALSE(plans.empty()) << spec.architecture << " on " << ranks;
      ExpectSound(spec, plans);
    }
  }
}

TEST(ShardPlan, AnyModelOnAnyDegreeIsCoveredOrRefusedWhole) {
  std::mt19937 random(20261122);
  int planned = 0;
  for (int i = 0; i < 400; ++i) {
    const ModelSpec spec = RandomSpec(random);
    for (int64_t ranks = 1; ranks <= 8; ++ranks) {
      const std::vector<ShardPlan> plans = Plans(spec, ranks);
      const int64_t limit =
          std::min(SumTree::OverHeads(spec.heads, spec.kv_heads, spec.head_dim).leaf_count(),
                   SumTree::OverInputs(spec.ffn).leaf_count());
      EXPECT_EQ(plans.empty(), ranks > limit);
      if (plans.empty()) continue;
      ++planned;
      ExpectSound(spec, plans);
    }
  }
  EXPECT_GT(planned, 1600);
}

TEST(ShardPlan, WholeKvHeadsWhileThereAreEnough) {
  // 8 kv heads of 8 query heads, 16 leaves: larger shares first.
  const std::vector<ShardPlan> plans = Plans(Qwen25_72B(), 3);
  EXPECT_EQ(plans[0].kv_heads(), 3);
  EXPECT_EQ(plans[1].kv_heads(), 3);
  EXPECT_EQ(plans[2].kv_heads(), 2);
  EXPECT_EQ(plans[0].heads(), 24);
  EXPECT_EQ(plans[0].attention_leaves, (LeafRange{0, 6}));
  // Leaves of the FFN: 32, larger shares last.
  EXPECT_EQ(plans[0].ffn_leaves.count(), 10);
  EXPECT_EQ(plans[2].ffn_leaves.count(), 11);
}

TEST(ShardPlan, KvHeadsAreReplicatedBeyondTheirNumber) {
  const std::vector<ShardPlan> plans = Plans(Qwen25_05B(), 8);  // 2 kv heads of 7, 8 leaves
  const int64_t heads[] = {2, 2, 2, 1, 2, 2, 2, 1};
  for (int64_t rank = 0; rank < 8; ++rank) {
    EXPECT_EQ(plans[rank].heads(), heads[rank]) << rank;
    EXPECT_EQ(plans[rank].kv_head_begin, rank / 4) << rank;
    EXPECT_EQ(plans[rank].kv_heads(), 1) << rank;
  }
  // On three ranks the middle one needs both kv heads.
  const std::vector<ShardPlan> three = Plans(Qwen25_05B(), 3);
  EXPECT_EQ(three[1].kv_heads(), 2);
  EXPECT_EQ(three[1].head_groups.size(), 2u);
}

TEST(ShardPlan, LeavesThatHoldSeveralKvHeadsAreTheUnits) {
  const std::vector<ShardPlan> plans = Plans(Llama2_7B(), 3);  // 32 kv heads, 8 leaves of 4
  EXPECT_EQ(plans[0].heads(), 12);
  EXPECT_EQ(plans[1].heads(), 12);
  EXPECT_EQ(plans[2].heads(), 8);
}

TEST(ShardPlan, SmallVocabularyLeavesRanksWithNone) {
  ModelSpec spec = Demo();
  spec.vocab = 600;  // two tiles, the second short
  const std::vector<ShardPlan> plans = Plans(spec, 4);
  EXPECT_EQ(plans[0].vocab(), 512);
  EXPECT_EQ(plans[1].vocab(), 88);
  EXPECT_EQ(plans[2].vocab(), 0);
  EXPECT_EQ(plans[3].vocab_bounds, (std::vector<int64_t>{0, 512, 600, 600, 600}));
}

TEST(ShardPlan, EmbeddingIsAChainOfOneRootPerRank) {
  const std::vector<ShardPlan> plans = Plans(Demo(), 4);
  EXPECT_EQ(plans[2].embedding_exchange.roots_of_rank, (std::vector<int32_t>{1, 1, 1, 1}));
  EXPECT_EQ(Evaluate({"a", "b", "c", "d"}, plans[2].embedding_exchange.merges), "(((a+b)+c)+d)");
}

TEST(ShardPlan, RefusesWithTheLimit) {
  EXPECT_EQ(ShardPlan::Make(Demo(), 9, 0).status().message(),
            "demo with 8 heads, 2 kv heads and an ffn of 1024 can not run on 9 ranks: the limit "
            "is 8, the leaves of its attention output");
  ModelSpec narrow = Demo();
  narrow.ffn = 300;
  EXPECT_EQ(ShardPlan::Make(narrow, 4, 0).status().message(),
            "demo with 8 heads, 2 kv heads and an ffn of 300 can not run on 4 ranks: the limit is "
            "3, the leaves of its down projection");
  EXPECT_FALSE(ShardPlan::Make(Demo(), 0, 0).ok());
  EXPECT_FALSE(ShardPlan::Make(Demo(), kRanksMax + 1, 0).ok());
  EXPECT_FALSE(ShardPlan::Make(Demo(), 2, 2).ok());
  EXPECT_FALSE(ShardPlan::Make(Demo(), 2, -1).ok());
}

}  // namespace
}  // namespace octet::worker
