// Shapes and inputs for RopeAppendKv, and what Rope, a scale and AppendKv of the CPU make of them.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "kernels/kv_cache/kv_cache.h"
#include "kernels/kv_cache/rope_append.h"
#include "kernels/rope/rope.h"
#include "tests/kernels/kv_cache/kv_cache_cases.h"
#include "tests/kernels/random.h"

namespace octet::kernels::test {

inline constexpr std::byte kUnwritten{0x77};  // what a cache holds before

struct RopeAppendCase {
  KvFormat format;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t rotary_dim;
  int64_t rows;
  int64_t gap = 0;  // elements between rows
  bool is_guarded = false;
  bool is_static = false;
  bool is_scaled = false;  // queries have a scale

  int64_t stride() const { return (heads + 2 * kv_heads) * head_dim + gap; }
  KvLayout layout() const { return {format, kv_heads, head_dim}; }
  std::string Name() const {
    return "format " + std::to_string(static_cast<int>(format)) + ", heads " +
           std::to_string(heads) + "/" + std::to_string(kv_heads) + " of " +
           std::to_string(head_dim) + ", rotary " + std::to_string(rotary_dim) + ", rows " +
           std::to_string(rows) + (is_guarded ? ", guarded" : "") + (is_static ? ", static" : "") +
           (is_scaled ? ", scaled" : "");
  }
};

// Every width of a vector, whole and partial rotation, rows that are not aligned, ranks without
// heads.
inline std::vector<RopeAppendCase> RopeAppendCases() {
  std::vector<RopeAppendCase> cases;
  for (const KvFormat format : {KvFormat::kInt8, KvFormat::kBF16, KvFormat::kInt4}) {
    cases.push_back({format, 3, 1, 32, 32, 3});
    cases.push_back({format, 2, 2, 64, 64, 5});
    cases.push_back({format, 3, 1, 80, 32, 2});  // a quarter and more passes unturned
    cases.push_back({format, 1, 1, 96, 96, 3});
    cases.push_back({format, 5, 2, 128, 128, 4, 4});
    cases.push_back({format, 1, 1, 256, 64, 2});
    cases.push_back({format, 2, 1, 48, 10, 3, 3});  // neither half nor stride is a multiple of 4
    cases.push_back({format, 0, 2, 64, 64, 2});
    cases.push_back({format, 3, 0, 64, 64, 2});
    cases.push_back({format, 2, 1, 64, 0, 3});  // learned positions: nothing is turned
    cases.push_back({format, 3, 1, 128, 128, 4, 0, false, false, true});
    cases.push_back(
        {format, 3, 1, 80, 32, 3, 0, false, false, true});  // what passes unturned is scaled too
    cases.push_back({format, 2, 1, 48, 10, 3, 3, true, false, true});
  }
  // Guards of whole and partial rotation, aligned and not; static scales of several heads.
  for (const KvFormat format : {KvFormat::kInt8, KvFormat::kBF16, KvFormat::kInt4}) {
    cases.push_back({format, 4, 2, 64, 64, 3, 0, true});
    cases.push_back({format, 3, 1, 80, 32, 3, 3, true});
    cases.push_back({format, 0, 2, 128, 128, 2, 0, true});
  }
  cases.push_back({KvFormat::kInt8, 4, 2, 128, 128, 3, 0, false, true});
  cases.push_back({KvFormat::kInt8, 3, 3, 48, 10, 3, 3, true, true});
  cases.push_back({KvFormat::kInt8, 2, 1, 6, 4, 2});
  cases.push_back({KvFormat::kBF16, 1, 1, 7, 2, 2});
  return cases;
}

struct RopeAppendInputs {
  static constexpr int64_t kBlocks = 2;

  RopeAppendCase shape;
  std::vector<float> qkv;  // [rows, stride]
  std::vector<float> cos;  // [rows, rotary_dim / 2]
  std::vector<float> sin;
  std::vector<int64_t> slots;          // the second row is padding
  std::vector<float> guard;            // [(heads + 2 kv_heads) * head_dim], or empty
  std::vector<uint16_t> static_pairs;  // [kv_heads, 2, 2], or empty
  std::vector<float> scales;           // of queries, [rows], or empty

  explicit RopeAppendInputs(const RopeAppendCase& test)
      : shape(test),
        qkv(Normal(test.rows * test.stride(), static_cast<uint32_t>(test.head_dim), 0.5f, 4.0f)),
        cos(Normal(test.rows * test.rotary_dim / 2, 1)),
        sin(Normal(test.rows * test.rotary_dim / 2, 2)),
        scales(test.is_scaled ? Normal(test.rows, 3, 1.0f, 0.3f) : std::vector<float>()) {
    for (int64_t row = 0; row < test.rows; ++row) {
      slots.push_back(row == 1 ? -1 : (row * 51 + 63) % (kBlocks * kKvBlockTokens));
    }
    if (test.is_guarded) {
      guard = Normal((test.heads + 2 * test.kv_heads) * test.head_dim, 3, 0.0f, 9.0f);
      for (int64_t i = 0; i < (test.heads + test.kv_heads) * test.head_dim; ++i) {
        guard[i] = std::exp2(std::round(guard[i] / 3));
      }
    }
    for (int64_t i = 0; test.is_static && i < 2 * test.kv_heads; ++i) {
      const StaticPair pair = StaticPairs()[i % 3];
      static_pairs.insert(static_pairs.end(), pair.begin(), pair.end());
    }
  }
};

// What the op changes, in host memory. Equal states may differ in what the contract leaves open.
struct RopeAppendState {
  const RopeAppendInputs* inputs;
  std::vector<float> qkv;
  std::vector<std::byte> cache;

  explicit RopeAppendState(const RopeAppendInputs& from)
      : inputs(&from),
        qkv(from.qkv),
        cache(static_cast<size_t>(RopeAppendInputs::kBlocks * from.shape.layout().block_bytes()),
              kUnwritten) {}

  RopeAppendKvArgs Args() {
    const RopeAppendCase& shape = inputs->shape;
    return {.layout = shape.layout(),
            .cache = cache.data(),
            .qkv = qkv.data(),
            .stride = shape.stride(),
            .cos = inputs->cos.data(),
            .sin = inputs->sin.data(),
            .slots = inputs->slots.data(),
            .rows = shape.rows,
            .heads = shape.heads,
            .rotary_dim = shape.rotary_dim,
            .static_pairs = inputs->static_pairs.empty() ? nullptr : inputs->static_pairs.data(),
            .key_guard = inputs->guard.empty() ? nullptr : inputs->guard.data(),
            .query_scale = inputs->scales.empty() ? nullptr : inputs->scales.data()};
  }

  // The queries of rows that are not padding.
  std::vector<float> Queries() const {
    const RopeAppendCase& shape = inputs->shape;
    std::vector<float> queries;
    for (int64_t row = 0; row < shape.rows; ++row) {
      if (inputs->slots[row] < 0) continue;
      const auto begin = qkv.begin() + row * shape.stride();
      queries.insert(queries.end(), begin, begin + shape.heads * shape.head_dim);
    }
    return queries;
  }
  bool operator==(const RopeAppendState& other) const {
    return SameBits(Queries(), other.Queries()) && cache == other.cache;
  }
};

inline RopeAppendState RopeThenAppend(const RopeAppendInputs& inputs) {
  const RopeAppendCase& shape = inputs.shape;
  RopeAppendState state(inputs);
  const int64_t q_width = shape.heads * shape.head_dim;
  const int64_t kv_width = shape.kv_heads * shape.head_dim;
  ThreadPool pool(1);
  Stream stream(&pool);
  float* k = state.qkv.data() + q_width;
  if (shape.rotary_dim > 0) {
    Rope({state.qkv.data(), shape.stride(), inputs.cos.data(), inputs.sin.data(), shape.rows,
          shape.heads + shape.kv_heads, shape.head_dim, shape.rotary_dim},
         stream);
  }
  for (int64_t row = 0; row < shape.rows && shape.is_guarded; ++row) {
    float* x = state.qkv.data() + row * shape.stride();
    for (int64_t i = 0; i < q_width + kv_width; ++i) {
      if (i >= q_width) x[i] -= inputs.guard[i + kv_width];
      x[i] *= inputs.guard[i];
    }
  }
  for (int64_t row = 0; row < shape.rows && shape.is_scaled; ++row) {
    float* q = state.qkv.data() + row * shape.stride();
    for (int64_t i = 0; i < q_width; ++i) q[i] *= inputs.scales[row];
  }
  AppendKv(
      {shape.layout(), state.cache.data(), k, k + kv_width, shape.stride(), shape.rows,
       inputs.slots.data(), inputs.static_pairs.empty() ? nullptr : inputs.static_pairs.data()},
      stream);
  return state;
}

}  // namespace octet::kernels::test
