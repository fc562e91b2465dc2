// What one rank holds of a model: ranges, not equal parts, so that any TP degree works.
//
// Attention: whole kv heads while there are at least as many of them as ranks, else whole leaves of
// the attention output with their kv head replicated; larger shares first. FFN: whole leaves of the
// down projection; larger shares last. Vocabulary: whole tiles of 512 rows. A rank may hold nothing
// of a part. The attention output and down projections are row-parallel: their leaves and roots
// follow base/sum_tree.h.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "base/sum_tree.h"
#include "kernels/attention/attention.h"
#include "worker/model/model_spec.h"

namespace octet::worker {

inline constexpr int64_t kVocabTile = 512;
inline constexpr int64_t kRanksMax = 32;

struct ShardPlan {
  int64_t ranks = 1;
  int64_t rank = 0;

  // Query heads [head_begin, head_end) and kv heads [kv_head_begin, kv_head_end) of the whole
  // model.
  int64_t head_begin = 0, head_end = 0;
  int64_t kv_head_begin = 0, kv_head_end = 0;
  std::vector<kernels::HeadGroup> head_groups;  // local indices
  LeafRange attention_leaves;

  int64_t ffn_begin = 0, ffn_end = 0;  // inputs of down, outputs of gate and of up
  LeafRange ffn_leaves;

  int64_t vocab_begin = 0, vocab_end = 0;
  std::vector<int64_t> vocab_bounds;  // [ranks + 1] of every rank

  SumTree attention_tree, ffn_tree,
      hidden_tree;  // unsharded: attention output, down, inputs = hidden
  ExchangeTree attention_exchange, ffn_exchange, embedding_exchange;

  int64_t heads() const { return head_end - head_begin; }
  int64_t kv_heads() const { return kv_head_end - kv_head_begin; }
  int64_t ffn() const { return ffn_end - ffn_begin; }
  int64_t vocab() const { return vocab_end - vocab_begin; }

  // Refuses a degree above the leaves of a row-parallel linear, naming the limit.
  static Result<ShardPlan> Make(const ModelSpec& spec, int64_t ranks, int64_t rank);
};

}  // namespace octet::worker
