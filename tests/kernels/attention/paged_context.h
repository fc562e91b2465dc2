// A paged cache filled with random keys and values for the tests of attention: several sequences
// whose blocks are scattered and interleaved, and a double-precision reference that reads the same
// bytes. It is there in rows, which devices and the reference read, and in the CPU's order.
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
  float outlier = 0;             // added to value 3 of every key, as models with biased keys have
};

class PagedContext {
 public:
  explicit PagedContext(const ContextShape& shape, uint8_t stale = 0) : shape_(shape) {
    layout_ = {shape.format, shape.kv_heads, shape.head_dim};
    int64_t blocks = 0;
    for (int64_t length : shape.lengths) blocks += BlocksOf(length);
    cpu_layout_ = layout_;
    if (shape.format == KvFormat::kInt8) cpu_layout_.order = KvOrder::kFours;
    for (Buffer* cache : {&cache_, &cpu_cache_}) {
      *cache = Buffer(std::max<int64_t>(blocks, 1) * layout_.block_bytes());
      std::fill_n(cache->data(), cache->bytes(), std::byte{stale});
    }
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
    for (size_t s = 0; s < tables_.size(); ++s) {
      const Tokens tokens = TokensOf(s);
      Append(tokens);
      keys_.push_back(ReadBack(s, true));
      values_.push_back(ReadBack(s, false));
    }
  }

  const ContextShape& shape() const { return shape_; }
  const KvLayout& layout() const { return layout_; }
  const Buffer& cache() const { return cache_; }
  const std::vector<int32_t>& table(size_t sequence) const { return tables_[sequence]; }
  int64_t q_width() const { return shape_.heads * shape_.head_dim; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape_.head_dim)); }
  // The query of one token of one sequence: the same wherever it is used.
  std::vector<float> Query(size_t sequence, int64_t position) const {
    std::vector<float> q = Normal(q_width(), static_cast<uint32_t>(7919 * sequence + position + 1));
    if (position == poisoned_position_) q[static_cast<size_t>(poisoned_value_)] = poison_;
    return q;
  }
  // Value `index` [heads * head_dim] of the queries at `position`.
  void PoisonQuery(int64_t position, int64_t index, float poison) {
    poisoned_position_ = position;
    poisoned_value_ = index;
    poison_ = poison;
  }

  std::vector<HeadGroup> Groups() const {
    std::vector<HeadGroup> groups;
    const auto share = static_cast<int32_t>(shape_.heads / shape_.kv_heads);
    for (int32_t g = 0; g < shape_.kv_heads; ++g) groups.push_back({g, g * share, share});
    return groups;
  }

  // Overwrites tokens [0, end) of a sequence with what is not finite.
  void Poison(size_t sequence, int64_t end) {
    const int64_t width = shape_.kv_heads * shape_.head_dim;
    const int64_t rows = std::max<int64_t>(end, 0);
    const std::vector<float> bad(static_cast<size_t>(rows * width), INFINITY);
    Append({bad, bad, SlotsOf(sequence, rows)});
  }

  struct Rows {
    size_t sequence = 0;
    int64_t first_position = 0;
    int64_t count = 0;
  };
  // Of a sequence's tokens: what is appended, [tokens, kv_heads * head_dim] each, and where.
  struct Tokens {
    std::vector<float> k, v;
    std::vector<int64_t> slots;  // AppendKvArgs::slots
  };
  Tokens TokensOf(size_t s) const {
    const int64_t rows = shape_.lengths[s];
    const int64_t width = shape_.kv_heads * shape_.head_dim;
    Tokens tokens;
    tokens.k = Normal(rows * width, static_cast<uint32_t>(1000 + s), 0.3f, 1.5f);
    for (int64_t i = 3; i < rows * width; i += shape_.head_dim) {
      tokens.k[static_cast<size_t>(i)] += shape_.outlier;
    }
    tokens.v = Normal(rows * width, static_cast<uint32_t>(2000 + s), -0.2f);
    tokens.slots = SlotsOf(s, rows);
    return tokens;
  }
  // The queries of `runs`, row after row: [rows of all runs, heads of head_source, head_dim].
  std::vector<float> Queries(const std::vector<Rows>& runs,
                             const std::vector<int32_t>& head_source) const {
    std::vector<float> q;
    for (const Rows& run : runs) {
      for (int64_t i = 0; i < run.count; ++i) {
        const std::vector<float> all = Query(run.sequence, run.first_position + i);
        for (int32_t head : head_source) {
          q.insert(q.end(), all.begin() + head * shape_.head_dim,
                   all.begin() + (head + 1) * shape_.head_dim);
        }
      }
    }
    return q;
  }

  std::vector<int32_t> AllHeads() const {
    std::vector<int32_t> heads;
    for (int32_t h = 0; h < shape_.heads; ++h) heads.push_back(h);
    return heads;
  }

  // Runs attention over `runs` in one call: [rows of all runs, width of the groups' heads].
  // `groups` may name a subset of the heads: their queries are then taken from `head_source`.
  std::vector<float> Attend(const std::vector<Rows>& runs, int threads) const {
    return Attend(runs, threads, Groups(), AllHeads());
  }
  std::vector<float> Attend(const std::vector<Rows>& runs, int threads,
                            const std::vector<HeadGroup>& groups,
                            const std::vector<int32_t>& head_source) const {
    const int64_t dim = shape_.head_dim;
    const int64_t width = static_cast<int64_t>(head_source.size()) * dim;
    std::vector<AttentionSequence> sequences;
    int64_t rows = 0;
    for (const Rows& run : runs) {
      sequences.push_back({rows, run.count, run.first_position, tables_[run.sequence].data()});
      rows += run.count;
    }
    const std::vector<float> q = Queries(runs, head_source);
    ThreadPool pool(threads);
    Stream stream(&pool);
    Buffer workspace(AttentionWorkspaceBytes(shape_.heads, dim, threads));
    std::vector<float> out(static_cast<size_t>(rows * width), -1.0f);
    AttentionArgs args;
    args.layout = cpu_layout_;
    args.cache = cpu_cache_.data();
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

  void set_window(int64_t window) { shape_.window = window; }

  // One row in double precision, and how far the op may be from it.
  struct Expected {
    std::vector<double> values;  // [heads * head_dim]
    std::vector<double> bounds;  // [heads * head_dim]
    std::vector<double> device_bounds;
  };
  // The bound, u = 2^-24 being half an ulp of 1. A score's terms have magnitudes that add up to A
  // (codes and zeros apart, as the op multiplies them apart); each passes dim / 16 additions in its
  // lane, 4 of lanes, and at most 8 more roundings (query times scale, product, scale, zero, code
  // to value), so
  //   |error of a score| <= (dim / 16 + 12) u A.
  // A weight relative to the maximum adds the rounding of s - m (2 u A), Exp (4 u), and over the
  // blocks seen as many changes of the maximum: their differences add up to at most 2 A, each costs
  // 4 u and a product. Values are added token by token: the last of T additions costs u of all
  // before. With V the weighted magnitudes of a value's terms, and both numerator and denominator
  // off by as much,
  //   |error| <= (2 ((dim / 16 + 16) A + 6 blocks + 8) + T + 8) u V.
  //
  // On a device integer keys see the query rounded to 1 / 32512 of its greatest value, so a score
  // is off by scale * max|q| / 65024 * sum |k|; with bf16 keys the query keeps all but 2^-18 of
  // each value, and the matrix unit may lose 2 u of A at each of dim sums. Sums of codes are exact,
  // what follows is 2 products and sums for each group and 8 more roundings of A. The weight of a
  // token times its value's scale is rounded to 1 / 65535 of the greatest in a block (bf16: 2^-18
  // of itself, and 2 u for each of 64 sums). Exp2 is good to 4 u (hardware: 2 ulp); a merge
  // costs 6.
  //
  // On the CPU int8 keys see the query rounded in the same way, and the weights are rounded to
  // 1 / 32767; sums of codes are exact, so the other roundings are fewer than those above.
  Expected Reference(size_t sequence, int64_t position) const {
    const int64_t dim = shape_.head_dim;
    const std::vector<float> q = Query(sequence, position);
    const int64_t oldest =
        shape_.window > 0 ? std::max<int64_t>(0, position + 1 - shape_.window) : 0;
    const int64_t width = shape_.kv_heads * dim;
    Expected out;
    out.values.assign(static_cast<size_t>(q_width()), 0.0);
    out.bounds.assign(static_cast<size_t>(q_width()), 0.0);
    out.device_bounds.assign(static_cast<size_t>(q_width()), 0.0);
    for (int64_t head = 0; head < shape_.heads; ++head) {
      const int64_t column = head / (shape_.heads / shape_.kv_heads) * dim;
      std::vector<double> scores;
      double terms_max = 0, query_max = 0, keys_max = 0;
      for (int64_t d = 0; d < dim; ++d) {
        query_max = std::max(query_max, std::abs(double{q[head * dim + d]}));
      }
      for (int64_t t = oldest; t <= position; ++t) {
        const Element* k = &keys_[sequence][t * width + column];
        double dot = 0, terms = 0, keys = 0;
        for (int64_t d = 0; d < dim; ++d) {
          dot += double{q[head * dim + d]} * k[d].value;
          terms += std::abs(double{q[head * dim + d]}) * k[d].magnitude;
          keys += std::abs(k[d].value);
        }
        keys_max = std::max(keys_max, keys);
        scores.push_back(dot * scale());
        terms_max = std::max(terms_max, terms * scale());
      }
      const double max = *std::max_element(scores.begin(), scores.end());
      double sum = 0;
      for (double& score : scores) sum += score = std::exp(score - max);
      for (int64_t t = oldest; t <= position; ++t) {
        const Element* v = &values_[sequence][t * width + column];
        for (int64_t d = 0; d < dim; ++d) {
          out.values[head * dim + d] += scores[t - oldest] / sum * v[d].value;
          out.bounds[head * dim + d] += scores[t - oldest] / sum * v[d].magnitude;
        }
      }
      const auto tokens = static_cast<double>(position + 1 - oldest);
      const double lanes = static_cast<double>(dim) / 16;
      const double roundings =
          2 * ((lanes + 16) * terms_max + 6 * (tokens / 64 + 2) + 8) + tokens + 8;
      const bool bf16 = shape_.format == KvFormat::kBF16;
      const bool int8 = shape_.format == KvFormat::kInt8;
      const double query_error =
          bf16 ? 0x1p-18 * terms_max : query_max / 65024 * keys_max * double{scale()};
      const double device_terms =
          (2 * static_cast<double>(bf16 ? dim : layout_.scale_groups()) + 10) * terms_max;
      const double device_roundings =
          2 * (device_terms + 6 * (tokens / 64 + 2) + 8) + (bf16 ? 128 : 0) + 3 * tokens / 64 + 8;
      for (int64_t d = 0; d < dim; ++d) {
        const size_t at = static_cast<size_t>(head * dim + d);
        const double weight_error = WeightError(sequence, oldest, scores, sum, column + d);
        out.device_bounds[at] =
            out.bounds[at] * (device_roundings * 0x1p-24 + 2 * query_error) + weight_error / 65535;
        out.bounds[at] *= roundings * 0x1p-24 + (int8 ? 2 * query_error : 0);
        if (int8) out.bounds[at] += weight_error / 32767;
      }
    }
    return out;
  }

  // What rounding of the weights costs value `column`, if 1 is what integer formats round the
  // greatest of a block to; scores[t - oldest] / sum are the weights of tokens from `oldest` on.
  double WeightError(size_t sequence, int64_t oldest, const std::vector<double>& scores, double sum,
                     int64_t column) const {
    const int64_t width = shape_.kv_heads * shape_.head_dim;
    double error = 0, most = 0, codes = 0;
    const auto end = oldest + static_cast<int64_t>(scores.size());
    for (int64_t t = oldest; t < end; ++t) {
      const Element& v = values_[sequence][static_cast<size_t>(t * width + column)];
      const double weight = scores[static_cast<size_t>(t - oldest)] / sum;
      if (shape_.format == KvFormat::kBF16) {
        error += weight * std::abs(v.value) * 0x1p-18 * 65535;
        continue;
      }
      most = std::max(most, weight * v.scale);
      codes += v.code;
      if ((t + 1) % kKvBlockTokens != 0 && t + 1 != end) continue;
      error += most / 2 * codes;
      most = codes = 0;
    }
    return error;
  }

 private:
  static int64_t BlocksOf(int64_t length) { return (length + kKvBlockTokens - 1) / kKvBlockTokens; }

  // Of the sequence's first `rows` tokens.
  std::vector<int64_t> SlotsOf(size_t s, int64_t rows) const {
    std::vector<int64_t> slots;
    for (int64_t t = 0; t < rows; ++t) {
      slots.push_back(tables_[s][t / kKvBlockTokens] * kKvBlockTokens + t % kKvBlockTokens);
    }
    return slots;
  }

  void Append(const Tokens& tokens) {
    ThreadPool pool(1);
    Stream stream(&pool);
    AppendKvArgs args{layout_,
                      cache_.data(),
                      tokens.k.data(),
                      tokens.v.data(),
                      shape_.kv_heads * shape_.head_dim,
                      static_cast<int64_t>(tokens.slots.size()),
                      tokens.slots.data()};
    AppendKv(args, stream);
    args.layout = cpu_layout_;
    args.cache = cpu_cache_.data();
    AppendKv(args, stream);
  }

  struct Element {
    double value = 0;
    double magnitude = 0;  // of the parts it is the sum of
    double scale = 0;      // integer formats
    double code = 0;       // its magnitude
  };

  // What the cache holds of a sequence: [tokens, kv_heads, head_dim].
  std::vector<Element> ReadBack(size_t s, bool key) const {
    std::vector<Element> all;
    for (int64_t t = 0; t < shape_.lengths[s]; ++t) {
      const std::byte* block =
          cache_.data() + tables_[s][t / kKvBlockTokens] * layout_.block_bytes();
      for (int64_t h = 0; h < shape_.kv_heads; ++h) {
        const std::byte* data = block + (key ? layout_.k_data(h) : layout_.v_data(h)) +
                                t % kKvBlockTokens * layout_.vector_bytes();
        const auto* pairs = reinterpret_cast<const uint16_t*>(
                                block + (key ? layout_.k_scale(h) : layout_.v_scale(h))) +
                            t % kKvBlockTokens * layout_.scale_groups() * 2;
        for (int64_t d = 0; d < shape_.head_dim; ++d) all.push_back(ElementAt(data, pairs, d));
      }
    }
    return all;
  }

  Element ElementAt(const std::byte* data, const uint16_t* pairs, int64_t d) const {
    if (shape_.format == KvFormat::kBF16) {
      const double value = BF16ToFloat(reinterpret_cast<const uint16_t*>(data)[d]);
      return {value, std::abs(value)};
    }
    int code = static_cast<int8_t>(data[shape_.format == KvFormat::kInt8 ? d : 0]);
    if (shape_.format == KvFormat::kInt4) {
      const int byte = static_cast<int>(data[d / 2]);
      code = d % 2 == 0 ? byte & 15 : byte >> 4;
      pairs += d / kKvInt4Group * 2;
    }
    const double part = double{F16ToFloat(pairs[0])} * code;
    const double zero = F16ToFloat(pairs[1]);
    return {part + zero, std::abs(part) + std::abs(zero), F16ToFloat(pairs[0]),
            std::abs(static_cast<double>(code))};
  }

  ContextShape shape_;
  int64_t poisoned_position_ = -1;
  int64_t poisoned_value_ = 0;
  float poison_ = 0;
  KvLayout layout_, cpu_layout_;
  Buffer cache_, cpu_cache_;
  std::vector<std::vector<int32_t>> tables_;
  std::vector<std::vector<Element>> keys_, values_;  // [sequence] see ReadBack
};

}  // namespace octet::kernels::test
