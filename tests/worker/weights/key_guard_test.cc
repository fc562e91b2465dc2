#include "worker/weights/key_guard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <vector>

#include "tests/kernels/random.h"
#include "worker/model/decoder_weights.h"

namespace octet::worker {
namespace {

// 8 query heads share 2 kv heads of 128, as in a Qwen2 of a few layers.
ModelSpec Spec() {
  ModelSpec spec;
  spec.architecture = "Qwen2ForCausalLM";
  spec.layers = 1;
  spec.hidden = 1024;
  spec.ffn = 4096;
  spec.heads = 8;
  spec.kv_heads = 2;
  spec.head_dim = 128;
  spec.vocab = 1024;
  spec.context = 32768;
  spec.rope.theta = 1e6;
  spec.qkv_bias = true;
  return spec;
}

constexpr int64_t kHalf = 64;

// Of the whole model: small everywhere, with outliers that turn slowly (63, 50), on the way (30)
// and fast (2) in both kv heads.
std::vector<float> Bias(const ModelSpec& spec) {
  std::vector<float> bias =
      kernels::test::Normal((spec.heads + 2 * spec.kv_heads) * spec.head_dim, 5, 0.0f, 2.0f);
  for (int64_t kv_head = 0; kv_head < spec.kv_heads; ++kv_head) {
    float* k = bias.data() + (spec.heads + kv_head) * spec.head_dim;
    k[63] = 290.0f;
    k[63 + kHalf] = -100.0f;
    k[50 + kHalf] = 200.0f + static_cast<float>(kv_head);
    k[30] = -300.0f;
    k[2] = 60.0f;
  }
  return bias;
}

std::vector<float> GuardOf(const ModelSpec& spec, const ShardPlan& shard,
                           const std::vector<float>& bias) {
  std::vector<float> guard(
      static_cast<size_t>((shard.heads() + 2 * shard.kv_heads()) * spec.head_dim));
  FillKeyGuard(spec, shard, bias.data(), guard.data());
  return guard;
}

// The definition: rotated biases, added up position by position.
TEST(KeyGuardTest, WhatIsTakenIsTheMeanAndWhatIsLeftComesDown) {
  const ModelSpec spec = Spec();
  const ShardPlan shard = *ShardPlan::Make(spec, 1, 0);
  const std::vector<float> bias = Bias(spec);
  const std::vector<float> guard = GuardOf(spec, shard, bias);
  const std::vector<float> frequencies = spec.rope.InverseFrequencies(spec.head_dim);
  for (int64_t kv_head = 0; kv_head < spec.kv_heads; ++kv_head) {
    const float* k_bias = bias.data() + (spec.heads + kv_head) * spec.head_dim;
    const float* factor = guard.data() + (spec.heads + kv_head) * spec.head_dim;
    const float* taken = factor + spec.kv_heads * spec.head_dim;
    for (int64_t i = 0; i < kHalf; ++i) {
      SCOPED_TRACE("pair " + std::to_string(i));
      const std::complex<double> b(k_bias[i], k_bias[i + kHalf]);
      const double turn = frequencies[i];
      std::complex<double> sum = 0;
      for (int64_t s = 0; s < spec.context; ++s)
        sum += b * std::polar(1.0, turn * static_cast<double>(s));
      const std::complex<double> mean = sum / static_cast<double>(spec.context);
      EXPECT_EQ(factor[i], factor[i + kHalf]);
      EXPECT_EQ(std::exp2(std::round(std::log2(factor[i]))), factor[i]);
      if (std::abs(b) < kOutlierBias) {
        EXPECT_EQ(taken[i], 0.0f);
        EXPECT_EQ(taken[i + kHalf], 0.0f);
        EXPECT_EQ(factor[i], 1.0f);
        continue;
      }
      EXPECT_NEAR(taken[i], mean.real(), 1e-5 * std::abs(b));
      EXPECT_NEAR(taken[i + kHalf], mean.imag(), 1e-5 * std::abs(b));
      double squares = 0;
      for (int64_t s = 0; s < spec.context; ++s) {
        squares += std::norm(b * std::polar(1.0, turn * static_cast<double>(s)) - mean);
      }
      const double left = factor[i] * std::sqrt(squares / 2 / static_cast<double>(spec.context));
      EXPECT_LE(left, kGuardedKeyLevel * std::sqrt(2.0) * (1 + 1e-6));  // the nearest power of two
      const bool is_least =
          factor[i] == 1 || left >= kGuardedKeyLevel / std::sqrt(2.0) * (1 - 1e-6);
      EXPECT_TRUE(is_least) << left;
    }
  }
  const float* of_first = guard.data() + spec.heads * spec.head_dim;
  EXPECT_EQ(of_first[63], 1.0f);  // theta^(-63/64) * 32768 is 0.04: all of it is taken
  EXPECT_LT(of_first[30], 0.02f);
}

// A query's factor is the inverse of its key's, and the same on every rank that has the head.
TEST(KeyGuardTest, QueriesMatchTheirKeysOnEveryRank) {
  const ModelSpec spec = Spec();
  const std::vector<float> bias = Bias(spec);
  const int64_t dim = spec.head_dim;
  const std::vector<float> whole = GuardOf(spec, *ShardPlan::Make(spec, 1, 0), bias);
  for (const int64_t ranks : {1, 2, 3, 8}) {
    for (int64_t rank = 0; rank < ranks; ++rank) {
      SCOPED_TRACE("rank " + std::to_string(rank) + " of " + std::to_string(ranks));
      const ShardPlan shard = *ShardPlan::Make(spec, ranks, rank);
      std::vector<float> own;
      const auto add = [&](int64_t begin, int64_t end) {
        own.insert(own.end(), bias.begin() + begin * dim, bias.begin() + end * dim);
      };
      add(shard.head_begin, shard.head_end);
      add(spec.heads + shard.kv_head_begin, spec.heads + shard.kv_head_end);
      add(spec.heads + spec.kv_heads + shard.kv_head_begin,
          spec.heads + spec.kv_heads + shard.kv_head_end);
      const std::vector<float> guard = GuardOf(spec, shard, own);
      for (int64_t head = 0; head < shard.heads() + 2 * shard.kv_heads(); ++head) {
        int64_t of_whole = shard.head_begin + head;
        if (head >= shard.heads()) {
          of_whole = spec.heads + shard.kv_head_begin + head - shard.heads();
        }
        if (head >= shard.heads() + shard.kv_heads()) {
          of_whole += spec.kv_heads - shard.kv_heads();
        }
        for (int64_t i = 0; i < dim; ++i) {
          EXPECT_EQ(guard[head * dim + i], whole[of_whole * dim + i]) << head << " " << i;
        }
      }
      for (const kernels::HeadGroup& group : shard.head_groups) {
        for (int64_t head = group.head_begin; head < group.head_begin + group.head_count; ++head) {
          for (int64_t i = 0; i < dim; ++i) {
            EXPECT_EQ(guard[head * dim + i] * guard[(shard.heads() + group.kv_head) * dim + i],
                      1.0f);
          }
        }
      }
    }
  }
}

TEST(KeyGuardTest, FactorsHaveALimit) {
  ModelSpec spec = Spec();
  std::vector<float> bias = Bias(spec);
  bias[spec.heads * spec.head_dim + 1] = 1e30f;
  const std::vector<float> guard = GuardOf(spec, *ShardPlan::Make(spec, 1, 0), bias);
  EXPECT_EQ(guard[1], std::ldexp(1.0f, kGuardExponentMax));
}

// Outliers of k come down to the median by powers of two, which q takes.
TEST(KeyGuardTest, HeadNormsAreBalanced) {
  std::vector<float> k = kernels::test::Normal(128, 8, 1.0f, 0.1f);
  std::vector<float> q = kernels::test::Normal(128, 9, 1.0f, 0.1f);
  std::vector<float> k_before = k;
  const std::vector<float> q_before = q;
  BalanceHeadNorms(128, q.data(), k.data());
  EXPECT_EQ(k, k_before);
  EXPECT_EQ(q, q_before);
  k[7] *= 64;
  k[7 + kHalf] *= 64;
  k[20] = 30.0f;  // one channel of a pair
  k[33] = -1e30f;
  const std::vector<float> k_outliers = k;
  BalanceHeadNorms(128, q.data(), k.data());
  for (int64_t c = 0; c < 128; ++c) {
    EXPECT_EQ(k[c] * q[c], k_outliers[c] * q_before[c]) << c;
    EXPECT_EQ(q[c] / q_before[c], q[(c + kHalf) % 128] / q_before[(c + kHalf) % 128]) << c;
    if (c % kHalf == 7) {
      EXPECT_EQ(k[c], k_before[c]);
    }
    if (c % kHalf != 33) {
      EXPECT_LT(std::abs(k[c]), 3.0f) << c;
    }
  }
  EXPECT_EQ(k[33], std::ldexp(-1e30f, -kGuardExponentMax));
}

// Yarn makes cos and sin larger, and with them what is taken.
TEST(KeyGuardTest, WhatIsTakenHasTheMagnitudeOfTheAngles) {
  ModelSpec spec = Spec();
  const ShardPlan shard = *ShardPlan::Make(spec, 1, 0);
  const std::vector<float> plain = GuardOf(spec, shard, Bias(spec));
  spec.rope.magnitude = 2.0;
  const std::vector<float> twice = GuardOf(spec, shard, Bias(spec));
  const int64_t taken = (spec.heads + spec.kv_heads) * spec.head_dim;
  EXPECT_EQ(twice[taken + 63], 2 * plain[taken + 63]);
  EXPECT_EQ(twice[2], 2 * plain[2]);  // what is left is twice as much: a factor of the fast pair
}

}  // namespace
}  // namespace octet::worker
