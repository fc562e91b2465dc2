// A paged cache filled with random keys and values for the tests of attention: several sequences
// whose blocks are scattered and interleaved, and a double-precision reference that reads the same
// bytes.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/buffer.h"
#include "base/dtype.h"
#include "kernels/attention/attention.h"
#include "kernels/kv_cache/kv_cache.h"
#include "tests/kernels/random.h"

namespace octet::kernels::test {

struct ContextShape {
  KvFormat format = KvFormat::kInt8;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t head_dim = 64;
  int64_t window = 0;
  std::vector<int64_t> lengths;  // tokens of each sequence, all of them in the cache
};

class PagedContext {
 public:
  explicit PagedContext(const ContextShape& shape, uint8_t stale = 0) : shape_(shape) {
    layout_ = {shape.format, shape.kv_heads, shape.head_dim};
    int64_t blocks = 0;
    for (int64_t length : shape.lengths) blocks += BlocksOf(length);
    cache_ = Buffer(std::max<int64_t>(blocks, 1) * layout_.block_bytes());
    std::fill_n(cache_.data(), cache_.bytes(), std::byte{stale});
    // Blocks are dealt round robin and from the last to the first.
    tables_.resize(shape.lengths.size());
    int64_t next = blocks;
    for (bool more = true; more;) {
      more = false;
      for (size_t s = 0; s < tables_.size(); ++s) {
        if (static_cast<int64_t>(tables_[s].size()) == BlocksOf(shape.lengths[s])) continue;
        tables_[s].push_back(static_cast<int32_t>(--next));
        more = true;
      }
    }
    for (size_t s = 0; s < tables_.size(); ++s) Fill(s);
  }

  const ContextShape& shape() const { return shape_; }
  int64_t q_width() const { return shape_.heads * shape_.head_dim; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape_.head_dim)); }
  // The query of one token of one sequence: the same wherever it is used.
  std::vector<float> Query(size_t sequence, int64_t position) const {
    return Normal(q_width(), static_cast<uint32_t>(7919 * sequence + position + 1));
  }

  std::vector<HeadGroup> Groups() const {
    std::vector<HeadGroup> groups;
    const auto share = static_cast<int32_t>(shape_.heads / shape_.kv_heads);
    for (int32_t g = 0; g < shape_.kv_heads; ++g) groups.push_back({g, g * share, share});
    return groups;
  }

  struct Rows {
    size_t sequence = 0;
    int64_t first_position = 0;
    int64_t count = 0;
  };
  // Runs attention over `runs` in one call: [rows of all runs, width of the groups' heads].
  // `groups` may name a subset of the heads: their queries are then taken from `head_source`.
  std::vector<float> Attend(const std::vector<Rows>& runs, int threads) const {
    std::vector<int32_t> heads;
    for (int32_t h = 0; h < shape_.heads; ++h) heads.push_back(h);
    return Attend(runs, threads, Groups(), heads);
  }
  std::vector<float> Attend(const std::vector<Rows>& runs, int threads,
                            const std::vector<HeadGroup>& groups,
                            const std::vector<int32_t>& head_source) const {
    const int64_t dim = shape_.head_dim;
    const int64_t width = static_cast<int64_t>(head_source.size()) * dim;
    std::vector<AttentionSequence> sequences;
    std::vector<float> q;
    int64_t rows = 0;
    for (const Rows& run : runs) {
      sequences.push_back({rows, run.count, run.first_position, tables_[run.sequence].data()});
      rows += run.count;
      for (int64_t i = 0; i < run.count; ++i) {
        const std::vector<float> all = Query(run.sequence, run.first_position + i);
        for (int32_t head : head_source) {
          q.insert(q.end(), all.begin() + head * dim, all.begin() + (head + 1) * dim);
        }
      }
    }
    ThreadPool pool(threads);
    Stream stream(&pool);
    Buffer workspace(AttentionWorkspaceBytes(shape_.heads, dim, threads));
    std::vector<float> out(static_cast<size_t>(rows * width), -1.0f);
    AttentionArgs args;
    args.layout = layout_;
    args.cache = cache_.data();
    args.q = q.data();
    args.q_stride = width;
    args.out = out.data();
    args.out_stride = width;
    args.sequences = sequences;
    args.groups = groups;
    args.scale = scale();
    args.window = shape_.window;
    args.workspace = workspace.data();
    Attention(args, stream);
    return out;
  }

  // One row in double precision: [heads * head_dim].
  std::vector<double> Reference(size_t sequence, int64_t position) const {
    const int64_t dim = shape_.head_dim;
    const std::vector<float> q = Query(sequence, position);
    const int64_t oldest =
        shape_.window > 0 ? std::max<int64_t>(0, position + 1 - shape_.window) : 0;
    std::vector<double> out(static_cast<size_t>(q_width()), 0.0);
    for (int64_t head = 0; head < shape_.heads; ++head) {
      const int64_t kv_head = head / (shape_.heads / shape_.kv_heads);
      std::vector<double> scores;
      for (int64_t t = oldest; t <= position; ++t) {
        double dot = 0;
        for (int64_t d = 0; d < dim; ++d) {
          dot += double{q[head * dim + d]} * Element(sequence, t, kv_head, d, true);
        }
        scores.push_back(dot * scale());
      }
      const double max = *std::max_element(scores.begin(), scores.end());
      double sum = 0;
      for (double& score : scores) sum += score = std::exp(score - max);
      for (int64_t t = oldest; t <= position; ++t) {
        for (int64_t d = 0; d < dim; ++d) {
          out[head * dim + d] += scores[t - oldest] / sum * Element(sequence, t, kv_head, d, false);
        }
      }
    }
    return out;
  }

 private:
  static int64_t BlocksOf(int64_t length) { return (length + kKvBlockTokens - 1) / kKvBlockTokens; }

  void Fill(size_t s) {
    const int64_t rows = shape_.lengths[s];
    const int64_t width = shape_.kv_heads * shape_.head_dim;
    const std::vector<float> k = Normal(rows * width, static_cast<uint32_t>(1000 + s), 0.3f, 1.5f);
    const std::vector<float> v = Normal(rows * width, static_cast<uint32_t>(2000 + s), -0.2f);
    std::vector<int64_t> slots;
    for (int64_t t = 0; t < rows; ++t) {
      slots.push_back(tables_[s][t / kKvBlockTokens] * kKvBlockTokens + t % kKvBlockTokens);
    }
    ThreadPool pool(1);
    Stream stream(&pool);
    AppendKv({layout_, cache_.data(), k.data(), v.data(), width, rows, slots.data()}, stream);
  }

  double Element(size_t sequence, int64_t token, int64_t kv_head, int64_t d, bool key) const {
    const std::byte* block =
        cache_.data() + tables_[sequence][token / kKvBlockTokens] * layout_.block_bytes();
    const int64_t row = token % kKvBlockTokens;
    const std::byte* data = block + (key ? layout_.k_data(kv_head) : layout_.v_data(kv_head));
    const int64_t index = row * shape_.head_dim + d;
    if (shape_.format == KvFormat::kBF16) {
      return BF16ToFloat(reinterpret_cast<const uint16_t*>(data)[index]);
    }
    const auto* pair = reinterpret_cast<const uint16_t*>(
        block + (key ? layout_.k_scale(kv_head) : layout_.v_scale(kv_head)));
    return double{F16ToFloat(pair[2 * row])} * reinterpret_cast<const int8_t*>(data)[index] +
           double{F16ToFloat(pair[2 * row + 1])};
  }

  ContextShape shape_;
  KvLayout layout_;
  Buffer cache_;
  std::vector<std::vector<int32_t>> tables_;
};

}  // namespace octet::kernels::test
