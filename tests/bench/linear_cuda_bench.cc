// Times the linear with bf16 and with int8 activations on a GPU, against what the same GPU can do
// in the same run: its copy bandwidth, and cuBLASLt's product of bf16 matrices (loaded at run time;
// without it that column is 0). Weights rotate, so that L2 holds none of them; launches are a CUDA
// graph.
//
//   octet_linear_cuda_bench [--rows M] [--quick]      one JSON object per line
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string_view>
#include <vector>

#include "base/device/device.h"
#include "base/sum_tree.h"
#include "kernels/linear/cuda16_layout.h"
#include "kernels/linear/cuda8_layout.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear16_plan.h"
#include "kernels/linear/linear8_plan.h"
#include "tests/bench/cublas_lt.h"

namespace octet::kernels {
namespace {

constexpr int64_t kRotatedBytes = int64_t{512} << 20;
constexpr double kMillisecondsPerLoop = 10;
constexpr int kLoops = 5;  // the median counts
constexpr int64_t kRows[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
constexpr int64_t kRowsQuick[] = {1, 16, 128, 2048};

struct Layer {
  const char* name;
  int64_t outputs;
  int64_t inputs;
  int64_t shards;        // 1: whole; else the first of so many
  bool is_row_parallel;  // inputs are sharded, else outputs
};
// Qwen2.5-72B: hidden 8192, ffn 29568, 64 heads, 8 kv heads.
constexpr Layer kLayers[] = {
    {"qkv", 10240, 8192, 1, false},     {"o", 8192, 8192, 1, true},
    {"gate_up", 59136, 8192, 1, false}, {"down", 8192, 29568, 1, true},
    {"qkv", 10240, 8192, 8, false},     {"o", 8192, 8192, 8, true},
    {"gate_up", 59136, 8192, 8, false}, {"down", 8192, 29568, 8, true},
};

struct Weights {
  const char* name;
  WeightFormat format;
  bool asymmetric;
  ActivationFormat activation = ActivationFormat::kBF16;
  int64_t group = 128;  // 0: a whole row
};
constexpr Weights kWeights[] = {
    {"int4 g128", WeightFormat::kInt4, false},
    {"int4 g128 asymmetric", WeightFormat::kInt4, true},
    {"int8 g128", WeightFormat::kInt8, false},
    {"bf16", WeightFormat::kBF16, false},
    {"int4 g128 x int8", WeightFormat::kInt4, false, ActivationFormat::kInt8},
    {"int4 g128 asymmetric x int8", WeightFormat::kInt4, true, ActivationFormat::kInt8},
    {"int8 g128 x int8", WeightFormat::kInt8, false, ActivationFormat::kInt8},
    {"int8 whole rows x int8", WeightFormat::kInt8, false, ActivationFormat::kInt8, 0},
};

LinearShape MakeShape(const Layer& layer, const Weights& weights) {
  const SumTree tree = SumTree::OverInputs(layer.inputs);
  const int64_t leaves = tree.leaf_count() / (layer.is_row_parallel ? layer.shards : 1);
  LinearShape shape;
  shape.format = weights.format;
  shape.asymmetric = weights.asymmetric;
  const bool int8 = weights.activation == ActivationFormat::kInt8;
  shape.layout = int8 ? WeightLayout::kCuda8 : WeightLayout::kCuda16;
  shape.group = weights.group == 0 ? layer.inputs : weights.group;
  shape.outputs = layer.outputs / (layer.is_row_parallel ? 1 : layer.shards);
  shape.leaf_bounds.assign(tree.bounds().begin(), tree.bounds().begin() + leaves + 1);
  shape.inputs = shape.leaf_bounds.back();
  shape.merges = tree.MergesWithin({0, leaves});
  return shape;
}

DeviceBuffer Allocate(int64_t bytes) {
  Result<DeviceBuffer> buffer = DeviceBuffer::Allocate(bytes);
  if (!buffer.ok()) {
    std::fprintf(stderr, "%s\n", buffer.status().message().c_str());
    std::exit(1);
  }
  return std::move(buffer).value();
}

// Random weights of one panel, in every panel: as random to a multiplier as all of them.
std::vector<std::byte> MakePanel(LinearShape shape) {
  static_assert(kCuda16PanelOutputs == kCuda8PanelOutputs);
  shape.outputs = kCuda16PanelOutputs;
  std::mt19937 random(1);
  NeutralRows rows;
  rows.rows = shape.outputs;
  if (IsQuantized(shape.format)) {
    rows.codes.resize(rows.rows * shape.inputs);
    for (uint8_t& code : rows.codes) {
      code = random() & (shape.format == WeightFormat::kInt4 ? 15 : 255);
    }
    rows.scales.assign(rows.rows * shape.group_count(), 0x1p-8f);
    if (shape.asymmetric) rows.offsets.assign(rows.scales.size(), -0x1p-5f);
  } else {
    rows.values.resize(rows.rows * shape.inputs * 2);
    for (size_t i = 0; i < rows.values.size(); i += 2) {
      rows.values[i] = static_cast<uint8_t>(random());
      rows.values[i + 1] = static_cast<uint8_t>(0x3c | (random() & 0x80));  // about 0.01
    }
  }
  std::vector<std::byte> packed(PackedLinearBytes(shape));
  PackLinearRows(shape, 0, rows, packed.data());
  return packed;
}

// Milliseconds of one call of `launch(i)`, i counting up, by a graph of many.
double TimeLaunches(Gpu& gpu, const std::function<void(int64_t)>& launch) {
  Stream& stream = gpu.stream();
  const auto loop_of = [&](int64_t count) {
    return Graph::Capture(stream, [&] {
      for (int64_t i = 0; i < count; ++i) launch(i);
    });
  };
  Event begin;
  Event end;
  const auto time = [&](Graph& graph) {
    begin.Record(stream);
    graph.Launch(stream);
    end.Record(stream);
    end.Synchronize();
    return Event::MillisecondsBetween(begin, end);
  };
  Graph few = loop_of(8);
  time(few);  // loads the code
  const double each = time(few) / 8;
  const int64_t count =
      std::clamp<int64_t>(static_cast<int64_t>(kMillisecondsPerLoop / each), 8, 2000);
  Graph many = loop_of(count);
  std::vector<double> times;
  for (int i = 0; i < kLoops; ++i) times.push_back(time(many) / static_cast<double>(count));
  std::nth_element(times.begin(), times.begin() + kLoops / 2, times.end());
  return times[kLoops / 2];
}

double CopyBytesPerSecond(Gpu& gpu) {
  constexpr int64_t kBytes = int64_t{1} << 30;
  const DeviceBuffer from = Allocate(kBytes);
  const DeviceBuffer to = Allocate(kBytes);
  const double ms = TimeLaunches(
      gpu, [&](int64_t) { CopyOnDevice(to.data(), from.data(), kBytes, gpu.stream()); });
  return 2.0 * static_cast<double>(kBytes) / (ms * 1e-3);
}

double CublasMilliseconds(Gpu& gpu, CublasLt& cublas, const LinearShape& shape, int64_t rows) {
  const int64_t bytes = shape.outputs * shape.inputs * 2;
  const int64_t copies = std::max<int64_t>(2, kRotatedBytes / bytes);
  const DeviceBuffer weights = Allocate(copies * bytes);
  const DeviceBuffer x = Allocate(rows * shape.inputs * 2);
  const DeviceBuffer out = Allocate(rows * shape.outputs * 2);
  FillBytes(weights.data(), 0x3c, weights.bytes(), gpu.stream());
  FillBytes(x.data(), 0x3c, x.bytes(), gpu.stream());
  if (!cublas.Prepare(shape.outputs, rows, shape.inputs)) return 0;
  return TimeLaunches(gpu, [&](int64_t i) {
    cublas.Multiply(weights.data() + i % copies * bytes, x.data(), out.data(), gpu.stream());
  });
}

// What a layer is dealt to.
struct Tile {
  int outputs;
  int tokens;
  int parts;
};

Tile TileOf(const Gpu& gpu, const LinearShape& shape, int64_t rows) {
  if (shape.layout == WeightLayout::kCuda8) {
    const Linear8Plan plan = Linear8Plan::Of(shape, rows, ActivationFormat::kInt8);
    return {static_cast<int>(plan.tile_panels * kCuda8PanelOutputs), plan.tile_tokens,
            plan.parts.parts};
  }
  const Linear16Plan plan =
      PlanLinear16(shape, Cuda16Layout::Of(shape), rows, ActivationFormat::kBF16,
                   gpu.info().has_wgmma() ? MatrixFamily::kWgmma : MatrixFamily::kMma);
  return {plan.tile.outputs, plan.tile.tokens, plan.parts.parts};
}

struct Peaks {
  double copy_bytes_per_s = 0;
};

void Bench(Gpu& gpu, CublasLt* cublas, const Layer& layer, const Weights& format, int64_t rows,
           const Peaks& peaks) {
  Stream& stream = gpu.stream();
  const LinearShape shape = MakeShape(layer, format);
  const int64_t bytes = PackedLinearBytes(shape);
  const int64_t copies = std::max<int64_t>(2, kRotatedBytes / bytes);
  const DeviceBuffer weights = Allocate(copies * bytes);
  const std::vector<std::byte> panel = MakePanel(shape);
  const auto panel_bytes = static_cast<int64_t>(panel.size());
  CopyToDevice(weights.data(), panel.data(), panel_bytes, stream);
  for (int64_t done = panel_bytes; done < weights.bytes();) {
    const int64_t now = std::min(done, weights.bytes() - done);
    CopyOnDevice(weights.data() + done, weights.data(), now, stream);
    done += now;
  }
  const bool int8 = format.activation == ActivationFormat::kInt8;
  const int64_t inputs = int8 ? ActivationPositions(shape) : shape.inputs;
  const int64_t segments = int8 ? ActivationSegmentCount(shape) : 0;
  const DeviceBuffer x = Allocate(ActivationRowsBytes(format.activation, inputs, segments, rows));
  FillBytes(x.data(), 0x3c, x.bytes(), stream);
  const DeviceBuffer out = Allocate(shape.root_count() * rows * shape.outputs * 4);
  const DeviceBuffer workspace = Allocate(std::max<int64_t>(
      64, LinearWorkspaceBytes(shape, format.activation, rows, format.activation)));
  LinearArgs args;
  args.shape = &shape;
  args.rows = rows;
  args.out = out.as<float>();
  args.activation = format.activation;
  args.activations =
      PlaceActivationRows(format.activation, inputs, nullptr, segments, rows, x.data());
  args.workspace = workspace.data();
  const DeviceBuffer arrivals = Allocate(kLinearArrivals * 4);
  FillBytes(arrivals.data(), 0, arrivals.bytes(), stream);
  args.arrivals = arrivals.as<uint32_t>();
  const double ms = TimeLaunches(gpu, [&](int64_t i) {
    args.weights = weights.data() + i % copies * bytes;
    Linear(args, stream);
  });
  const double flops = 2.0 * static_cast<double>(rows * shape.outputs * shape.inputs);
  const double cublas_ms = cublas != nullptr ? CublasMilliseconds(gpu, *cublas, shape, rows) : 0;
  const Tile tile = TileOf(gpu, shape, rows);
  std::printf(
      "{\"layer\": \"%s\", \"tp\": %ld, \"weights\": \"%s\", \"outputs\": %ld, \"inputs\": %ld, "
      "\"rows\": %ld, \"tile\": \"%dx%d\", \"parts\": %d, \"us\": %.2f, \"weight_bytes_per_s\": "
      "%.4g, "
      "\"of_copy\": %.3f, \"flops_per_s\": %.4g, \"cublas_us\": %.2f, \"of_cublas\": %.3f}\n",
      layer.name, static_cast<long>(layer.shards), format.name, static_cast<long>(shape.outputs),
      static_cast<long>(shape.inputs), static_cast<long>(rows), tile.outputs, tile.tokens,
      tile.parts, ms * 1e3, static_cast<double>(bytes) / (ms * 1e-3),
      static_cast<double>(bytes) / (ms * 1e-3) / peaks.copy_bytes_per_s, flops / (ms * 1e-3),
      cublas_ms * 1e3, cublas_ms / ms);
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  std::vector<int64_t> rows(std::begin(kRows), std::end(kRows));
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--rows" && i + 1 < argc) {
      rows = {std::max(1L, std::strtol(argv[++i], nullptr, 10))};
    } else if (argument == "--quick") {
      rows.assign(std::begin(kRowsQuick), std::end(kRowsQuick));
    } else {
      std::fprintf(stderr, "usage: octet_linear_cuda_bench [--rows M] [--quick]\n");
      return 2;
    }
  }
  Result<std::unique_ptr<Gpu>> opened = Gpu::Open({});
  if (!opened.ok()) {
    std::fprintf(stderr, "%s\n", opened.status().message().c_str());
    return 1;
  }
  Gpu& gpu = **opened;
  gpu.MakeCurrent();
  const std::unique_ptr<CublasLt> cublas = CublasLt::Load();
  const Peaks peaks = {CopyBytesPerSecond(gpu)};
  std::printf("{\"device\": \"%s\", \"copy_bytes_per_s\": %.4g, \"cublas\": %s}\n",
              gpu.info().name.c_str(), peaks.copy_bytes_per_s,
              cublas != nullptr ? "true" : "false");
  for (const Weights& weights : kWeights) {
    for (const Layer& layer : kLayers) {
      for (const int64_t count : rows) Bench(gpu, cublas.get(), layer, weights, count, peaks);
    }
  }
  return 0;
}

}  // namespace
}  // namespace octet::kernels

int main(int argc, char** argv) { return octet::kernels::Main(argc, argv); }
