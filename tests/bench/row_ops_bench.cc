// The row ops on a GPU: bytes moved a second, over what a copy on the same device moves in the same
// run. Shapes are those of a decoder of hidden 8192, 64/8 heads of 128 and an FFN of 28672, whole.
//
//   octet_row_ops_bench [ROWS...]    rows of a step; 1 8 64 512 4096 if none are given
//
// Launches are recorded into a graph, so that they follow one another as in a decode step, and each
// takes the next of several copies of its arrays, so that few bytes come from the L2.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/device/device.h"
#include "base/sum_tree.h"
#include "kernels/activation/activation.h"
#include "kernels/embedding/embedding.h"
#include "kernels/kv_cache/rope_append.h"
#include "kernels/linear/linear.h"
#include "kernels/norm/norm.h"

namespace octet::kernels {
namespace {

constexpr int64_t kHidden = 8192;
constexpr int64_t kFfn = 28672;
constexpr int64_t kHeads = 64;
constexpr int64_t kKvHeads = 8;
constexpr int64_t kHeadDim = 128;
constexpr int64_t kVocab = 32768;
constexpr int64_t kGroup = 128;
constexpr int kLaunches = 64;  // in a graph
constexpr int kRepetitions = 5;

double BestSeconds(Stream& stream, const std::function<void()>& run) {
  Event begin;
  Event end;
  double best = 1e9;
  for (int i = 0; i <= kRepetitions; ++i) {
    begin.Record(stream);
    run();
    end.Record(stream);
    end.Synchronize();
    if (i > 0) best = std::min(best, Event::MillisecondsBetween(begin, end) * 1e-3);
  }
  return best;
}

// Device memory with finite, ordinary values, handed out in turn and over again from the start.
class Pool {
 public:
  Pool(int64_t bytes, Stream& stream) : buffer_(std::move(DeviceBuffer::Allocate(bytes).value())) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(1 << 20);
    for (float& value : values) value = normal(random);
    const auto part = static_cast<int64_t>(values.size() * sizeof(float));
    for (int64_t at = 0; at < bytes; at += part) {
      CopyToDevice(buffer_.data() + at, values.data(), std::min(part, bytes - at), stream);
    }
    Synchronize(stream);
  }
  std::byte* Take(int64_t bytes) {
    const int64_t aligned = (bytes + 255) / 256 * 256;
    if (next_ + aligned > buffer_.bytes()) next_ = 0;
    OCTET_CHECK_LE(aligned, buffer_.bytes());
    return buffer_.data() + std::exchange(next_, next_ + aligned);
  }
  float* Floats(int64_t count) { return reinterpret_cast<float*>(Take(count * 4)); }
  double CopyBytesPerSecond(Stream& stream) {
    const int64_t half = buffer_.bytes() / 2;
    const double seconds = BestSeconds(
        stream, [&] { CopyOnDevice(buffer_.data(), buffer_.data() + half, half, stream); });
    return 2 * static_cast<double>(half) / seconds;
  }

 private:
  DeviceBuffer buffer_;
  int64_t next_ = 0;
};

template <typename T>
DeviceBuffer Uploaded(const std::vector<T>& values, Stream& stream) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
  DeviceBuffer buffer = std::move(DeviceBuffer::Allocate(bytes).value());
  CopyToDevice(buffer.data(), values.data(), bytes, stream);
  Synchronize(stream);
  return buffer;
}

// Rows for an op to write, as a linear of `inputs` reads them.
class RowsPlan {
 public:
  RowsPlan(int64_t inputs, Stream& stream) : shape_(ShapeOf(inputs)) {
    table_ = Uploaded(ActivationSegments(shape_), stream);
  }
  ActivationRows Take(ActivationFormat format, int64_t rows, Pool& pool) const {
    const ActivationExtent extent = ActivationExtentOf(shape_, format);
    std::byte* base = pool.Take(ActivationRowsBytes(extent, rows));
    return PlaceActivationRows(extent, rows, table_.as<int32_t>(), base);
  }

 private:
  static LinearShape ShapeOf(int64_t inputs) {
    const SumTree tree = SumTree::OverInputs(inputs);
    LinearShape shape;
    shape.format = WeightFormat::kInt4;
    shape.outputs = 1;
    shape.inputs = inputs;
    shape.group = kGroup;
    shape.leaf_bounds = tree.bounds();
    shape.merges = tree.MergesWithin({0, tree.leaf_count()});
    return shape;
  }
  LinearShape shape_;
  DeviceBuffer table_;
};

class Bench {
 public:
  Bench(Gpu& gpu, int64_t pool_bytes)
      : stream_(gpu.stream()),
        pool_(pool_bytes / 2, stream_),
        results_(pool_bytes / 2, stream_),
        hidden_rows_(kHidden, stream_),
        ffn_rows_(kFfn, stream_),
        copy_(pool_.CopyBytesPerSecond(stream_)) {
    std::printf("%s, copy %.0f GB/s\n", Describe(gpu.info()).c_str(), copy_ * 1e-9);
    std::printf("%-28s %6s %10s %10s %8s\n", "op", "rows", "us", "GB/s", "of copy");
  }

  void Norms(int64_t rows) {
    for (const ActivationFormat format : {ActivationFormat::kBF16, ActivationFormat::kInt8}) {
      const std::string to = format == ActivationFormat::kBF16 ? ", bf16" : ", int8";
      const int64_t written = ActivationBytes(format);
      Report("RmsNorm" + to, rows, rows * kHidden * (4 + written), [&] {
        Norm({.x = pool_.Floats(rows * kHidden),
              .weight = pool_.Floats(kHidden),
              .rows = rows,
              .hidden = kHidden,
              .out = hidden_rows_.Take(format, rows, results_)},
             stream_);
      });
      Report("AddRmsNorm" + to, rows, rows * kHidden * (12 + written), [&] {
        AddNorm({.residual = pool_.Floats(rows * kHidden),
                 .delta = pool_.Floats(rows * kHidden),
                 .weight = pool_.Floats(kHidden),
                 .rows = rows,
                 .hidden = kHidden,
                 .out = hidden_rows_.Take(format, rows, results_)},
                stream_);
      });
      Report("SiluMul" + to, rows, rows * kFfn * (8 + written), [&] {
        SiluMul({.gate_up = pool_.Floats(rows * 2 * kFfn),
                 .rows = rows,
                 .width = kFfn,
                 .out = ffn_rows_.Take(format, rows, results_)},
                stream_);
      });
    }
  }

  void Embeddings(int64_t rows) {
    std::vector<int32_t> tokens;
    for (int64_t row = 0; row < rows; ++row) {
      tokens.push_back(static_cast<int32_t>(row * 7919 % kVocab));
    }
    const DeviceBuffer device_tokens = Uploaded(tokens, stream_);
    Report("Embedding, bf16", rows, rows * kHidden * (2 + 4), [&] {
      Embedding({.table = pool_.Take(kVocab * kHidden * 2),
                 .token_end = kVocab,
                 .tokens = device_tokens.as<int32_t>(),
                 .out = results_.Floats(rows * kHidden),
                 .rows = rows,
                 .hidden = kHidden},
                stream_);
    });
  }

  void Appends(int64_t rows) {
    std::vector<int64_t> slots(static_cast<size_t>(rows));
    for (int64_t row = 0; row < rows; ++row) slots[row] = row;
    const DeviceBuffer device_slots = Uploaded(slots, stream_);
    const std::pair<KvFormat, const char*> formats[] = {{KvFormat::kInt8, "RopeAppendKv, int8"},
                                                        {KvFormat::kInt4, "RopeAppendKv, int4"},
                                                        {KvFormat::kBF16, "RopeAppendKv, bf16"}};
    for (const auto& [format, name] : formats) {
      const KvLayout layout{format, kKvHeads, kHeadDim};
      const int64_t blocks = (rows + kKvBlockTokens - 1) / kKvBlockTokens;
      const int64_t vector = layout.vector_bytes() + 4 * layout.scale_groups();
      const int64_t row_bytes =
          8 * kHeads * kHeadDim + 2 * kKvHeads * (4 * kHeadDim + vector) + 4 * kHeadDim;
      Report(name, rows, rows * row_bytes, [&] {
        const int64_t stride = (kHeads + 2 * kKvHeads) * kHeadDim;
        RopeAppendKv({.layout = layout,
                      .cache = results_.Take(blocks * layout.block_bytes()),
                      .qkv = pool_.Floats(rows * stride),
                      .stride = stride,
                      .cos = pool_.Floats(rows * kHeadDim / 2),
                      .sin = pool_.Floats(rows * kHeadDim / 2),
                      .slots = device_slots.as<int64_t>(),
                      .rows = rows,
                      .heads = kHeads,
                      .rotary_dim = kHeadDim},
                     stream_);
      });
    }
  }

 private:
  void Report(const std::string& name, int64_t rows, int64_t bytes,
              const std::function<void()>& launch) {
    Graph graph = Graph::Capture(stream_, [&] {
      for (int i = 0; i < kLaunches; ++i) launch();
    });
    const double seconds = BestSeconds(stream_, [&] { graph.Launch(stream_); }) / kLaunches;
    const double rate = static_cast<double>(bytes) / seconds;
    std::printf("%-28s %6lld %10.2f %10.1f %8.3f\n", name.c_str(), static_cast<long long>(rows),
                seconds * 1e6, rate * 1e-9, rate / copy_);
  }

  Stream& stream_;
  Pool pool_;     // what ops read, or change in place
  Pool results_;  // what they write, whose bytes are no ordinary floats any more
  RowsPlan hidden_rows_;
  RowsPlan ffn_rows_;
  double copy_;
};

}  // namespace
}  // namespace octet::kernels

int main(int argc, char** argv) {
  using octet::Gpu;
  octet::Result<std::unique_ptr<Gpu>> gpu = Gpu::Open({});
  if (!gpu.ok()) {
    std::fprintf(stderr, "%s\n", gpu.status().message().c_str());
    return 1;
  }
  std::vector<int64_t> row_counts;
  for (int i = 1; i < argc; ++i) row_counts.push_back(std::atoll(argv[i]));
  if (row_counts.empty()) row_counts = {1, 8, 64, 512, 4096};
  const int64_t pool_bytes = std::min<int64_t>(int64_t{8} << 30, (*gpu)->free_bytes() / 2);
  octet::kernels::Bench bench(**gpu, pool_bytes);
  for (const int64_t rows : row_counts) {
    bench.Norms(rows);
    bench.Embeddings(rows);
    bench.Appends(rows);
  }
  return 0;
}
