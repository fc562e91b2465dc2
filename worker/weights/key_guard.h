// Keeps outlier channels of keys from spoiling the cache's precision.
//
// Models with a bias on keys (Qwen 1 to 2.5) have a few pairs of rotated channels whose bias is in
// the hundreds, in their first and last layers. One scale for a head's vector then leaves the other
// channels a few codes. Two things leave attention as it is:
//   - One vector taken from all rotated keys of a head adds one number to all scores of a query,
//     which the softmax does not see. Taken is the mean of the rotated bias over the positions of
//     the context: nearly all of it where a pair turns slowly, nothing where it turns often.
//   - A power of two, taken from a pair of the key and given to that pair of the queries. It makes
//     what is left of the bias as large as other channels are.
// Both are made from the bias alone, once, and are applied where keys are appended
// (kernels/kv_cache/rope_append.h). Pairs without outliers keep their bits.
//
// Models that norm the heads of queries and keys (Qwen3) have outliers in the norm's weights, which
// take the powers of two themselves.
#pragma once

#include "worker/model/model_spec.h"
#include "worker/model/shard_plan.h"

namespace octet::worker {

// A pair whose bias is shorter than this is left alone.
inline constexpr float kOutlierBias = 8.0f;
// What is left of an outlier comes down to about this much in the mean square. Channels of keys
// have a deviation of 1 to 5.
inline constexpr float kGuardedKeyLevel = 2.0f;
// Queries are rounded to 16 bits of their greatest value on a device: a factor beyond 2^8 would
// cost their other channels more than bf16 does.
inline constexpr int kGuardExponentMax = 8;

// qkv_bias, guard: [(heads + 2 kv_heads) * head_dim] of this rank, as LayerWeights has them. A kv
// head's guard is the same on every rank. `qkv_bias` may be null: a guard that changes nothing.
// REQUIRES: HasKeyGuard(spec).
void FillKeyGuard(const ModelSpec& spec, const ShardPlan& shard, const float* qkv_bias,
                  float* guard);

// Weights of a pair that are so many times the median pair's are outliers.
inline constexpr float kOutlierNormRatio = 4.0f;

// Norm weights of query and key heads, [head_dim] each: powers of two move from pairs of k that are
// outliers to the same pairs of q, so that k's are about as large as the median. Scores keep their
// bits. Pairs whose factor would not be exact are left alone.
void BalanceHeadNorms(int64_t head_dim, float* q_norm, float* k_norm);

}  // namespace octet::worker
