// Times the linear with bf16 and with int8 activations on a GPU, against what the same GPU can do
// in the same run: its copy bandwidth, a plain read of the same weights, and cuBLASLt's product of
// bf16 matrices (loaded at run time; without it that column is 0). Weights rotate, so that L2 holds
// none of them; launches are a CUDA graph.
//
//   octet_linear_cuda_bench [--rows M,M,...] [--weights NAME] [--tp N] [--layer NAME]
//                           [--tiles | --few | --tile NAME] [--no-cublas]
//
// --tiles times each tile that takes so many rows at once, and each way to deal the leaves, instead
// of what the plan chooses. Prints one JSON object per line.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/device/device.h"
#include "base/sum_tree.h"
#include "kernels/linear/cuda16_layout.h"
#include "kernels/linear/cuda8_layout.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear16_launch.h"
#include "kernels/linear/linear16_plan.h"
#include "kernels/linear/linear8_plan.h"
#include "tests/bench/cublas_lt.h"
#include "tests/bench/read_bytes.h"

namespace octet::kernels {
namespace {

constexpr int64_t kRotatedBytes = int64_t{512} << 20;
struct Loops {
  int count = 5;  // the median counts
  double milliseconds = 10;
};
constexpr Loops kLoops;
constexpr Loops kLoopsOfFew = {3, 3};  // of each way to deal them: there are many
constexpr int64_t kRows[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};

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
double TimeLaunches(Gpu& gpu, const Loops& loops, const std::function<void(int64_t)>& launch) {
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
      std::clamp<int64_t>(static_cast<int64_t>(loops.milliseconds / each), 8, 2000);
  Graph many = loop_of(count);
  std::vector<double> times;
  for (int i = 0; i < loops.count; ++i) times.push_back(time(many) / static_cast<double>(count));
  std::nth_element(times.begin(), times.begin() + loops.count / 2, times.end());
  return times[loops.count / 2];
}

double CopyBytesPerSecond(Gpu& gpu) {
  constexpr int64_t kBytes = int64_t{1} << 30;
  const DeviceBuffer from = Allocate(kBytes);
  const DeviceBuffer to = Allocate(kBytes);
  Event begin;
  Event end;
  double best_ms = 0;  // not in a graph, where copies are slower (2.4 for 3.0 TB/s on an H100)
  for (int i = 0; i < 20; ++i) {
    begin.Record(gpu.stream());
    CopyOnDevice(to.data(), from.data(), kBytes, gpu.stream());
    end.Record(gpu.stream());
    end.Synchronize();
    const double ms = Event::MillisecondsBetween(begin, end);
    if (i == 0 || ms < best_ms) best_ms = ms;
  }
  return 2.0 * static_cast<double>(kBytes) / (best_ms * 1e-3);
}

double CublasMilliseconds(Gpu& gpu, const Loops& loops, CublasLt& cublas, const LinearShape& shape,
                          int64_t rows) {
  const int64_t bytes = shape.outputs * shape.inputs * 2;
  const int64_t copies = std::max<int64_t>(2, kRotatedBytes / bytes);
  const DeviceBuffer weights = Allocate(copies * bytes);
  const DeviceBuffer x = Allocate(rows * shape.inputs * 2);
  const DeviceBuffer out = Allocate(rows * shape.outputs * 2);
  FillBytes(weights.data(), 0x3c, weights.bytes(), gpu.stream());
  FillBytes(x.data(), 0x3c, x.bytes(), gpu.stream());
  if (!cublas.Prepare(shape.outputs, rows, shape.inputs)) return 0;
  return TimeLaunches(gpu, loops, [&](int64_t i) {
    cublas.Multiply(weights.data() + i % copies * bytes, x.data(), out.data(), gpu.stream());
  });
}

// What a layer is dealt to.
struct Tile {
  int outputs;
  int tokens;
  int parts;
  int split;  // warps that share a panel, in the kernels for few rows
  int warps;  // of a block there, at most
  bool stream;
};

Tile TileOf(const Linear16Plan& plan) {
  return {plan.tile.outputs, plan.tile.tokens, plan.parts.parts,
          plan.tile.split,   plan.tile.warps,  IsStream(plan.tile.name)};
}

std::string Name(const Tile& tile) {
  std::string name = std::to_string(tile.outputs) + "x" + std::to_string(tile.tokens);
  if (tile.warps > 0) {
    name += (tile.stream ? " s" : " f") + std::to_string(tile.warps) + "/" +
            std::to_string(tile.split) + "/" + std::to_string(tile.parts);
  }
  return name;
}

MatrixFamily FamilyOf(const Gpu& gpu) {
  return gpu.info().has_wgmma() ? MatrixFamily::kWgmma : MatrixFamily::kMma;
}

struct Options {
  std::vector<int64_t> rows{std::begin(kRows), std::end(kRows)};
  std::string_view weights;  // empty: all
  std::string_view layer;    // empty: all
  int64_t shards = 0;        // 0: all
  bool tiles = false;
  bool only_few = false;  // of the tiles, those of linear16_few.cuh
  std::string_view tile;  // of the tiles, the one that prints itself so
  bool cublas = true;
};

struct Session {
  Gpu& gpu;
  CublasLt* cublas;
  double copy_bytes_per_s;
  Loops loops;
};

// A layer's weights, often enough that L2 holds none of them, and what a call of it needs.
class LayerBench {
 public:
  LayerBench(const Session& session, const Layer& layer, const Weights& format, int64_t rows)
      : session_(session),
        layer_(layer),
        format_(format),
        rows_(rows),
        shape_(MakeShape(layer, format)),
        bytes_(PackedLinearBytes(shape_)),
        copies_(std::max<int64_t>(2, kRotatedBytes / bytes_)),
        weights_(Allocate(copies_ * bytes_)) {
    Stream& stream = session.gpu.stream();
    const std::vector<std::byte> panel = MakePanel(shape_);
    const auto panel_bytes = static_cast<int64_t>(panel.size());
    CopyToDevice(weights_.data(), panel.data(), panel_bytes, stream);
    for (int64_t done = panel_bytes; done < weights_.bytes();) {
      const int64_t now = std::min(done, weights_.bytes() - done);
      CopyOnDevice(weights_.data() + done, weights_.data(), now, stream);
      done += now;
    }
    const ActivationExtent extent = ActivationExtentOf(shape_, format.activation);
    x_ = Allocate(ActivationRowsBytes(extent, rows));
    FillBytes(x_.data(), 0x3c, x_.bytes(), stream);
    out_ = Allocate(shape_.root_count() * rows * shape_.outputs * 4);
    arrivals_ = Allocate(kLinearArrivals * 4);
    FillBytes(arrivals_.data(), 0, arrivals_.bytes(), stream);
    args_.shape = &shape_;
    args_.rows = rows;
    args_.out = out_.as<float>();
    args_.activation = format.activation;
    args_.activations = PlaceActivationRows(extent, rows, nullptr, x_.data());
    args_.arrivals = arrivals_.as<uint32_t>();
  }
  LayerBench(const LayerBench&) = delete;
  LayerBench& operator=(const LayerBench&) = delete;

  // What the plan chooses.
  void Planned() {
    Tile tile;
    if (shape_.layout == WeightLayout::kCuda8) {
      const Linear8Plan plan =
          Linear8Plan::Of(shape_, rows_, ActivationFormat::kInt8, session_.gpu.info().has_wgmma());
      tile = {static_cast<int>(plan.tile_panels * kCuda8PanelOutputs),
              plan.tile_tokens,
              plan.parts.parts,
              plan.few.needs.split,
              plan.few.needs.warps_max,
              false};
    } else {
      tile = TileOf(PlanLinear16(shape_, Cuda16Layout::Of(shape_), rows_, ActivationFormat::kBF16,
                                 FamilyOf(session_.gpu)));
    }
    const DeviceBuffer workspace =
        Workspace(LinearWorkspaceBytes(shape_, format_.activation, rows_, format_.activation));
    Print(tile, Time([&] { Linear(args_, session_.gpu.stream()); }));
  }

  // Each tile and number of parts; nothing for int8 activations, which leave no choice.
  void EachTile(bool only_few, std::string_view only) {
    if (shape_.layout == WeightLayout::kCuda8) return;
    const MatrixFamily family = FamilyOf(session_.gpu);
    const Cuda16Layout layout = Cuda16Layout::Of(shape_);
    for (const Linear16Tile& tile : Linear16Tiles(shape_.format, family)) {
      if (tile.tokens < rows_ && tile.tokens < 32) continue;
      // Of the kernels for few rows, those that waste least.
      if (only_few && (tile.warps == 0 || tile.tokens >= 2 * std::max<int64_t>(rows_, 8))) continue;
      int32_t before = 0;
      for (int64_t parts = 1; parts <= layout.inputs.leaves; parts *= 2) {
        const Linear16Plan plan =
            PlanLinear16With(shape_, layout, rows_, ActivationFormat::kBF16, family, tile, parts);
        if (plan.items == 0 || plan.parts.parts == before) continue;
        before = plan.parts.parts;
        if (!only.empty() && only != Name(TileOf(plan))) continue;
        const DeviceBuffer workspace = Workspace(plan.workspace_bytes());
        Print(TileOf(plan), Time([&] {
                cuda::Linear16ByPlan(args_, layout, plan, family, session_.gpu.stream());
              }));
      }
    }
  }

 private:
  DeviceBuffer Workspace(int64_t bytes) {
    DeviceBuffer workspace = Allocate(std::max<int64_t>(64, bytes));
    args_.workspace = workspace.data();
    return workspace;
  }
  double Time(const std::function<void()>& launch) {
    return TimeLaunches(session_.gpu, session_.loops, [&](int64_t i) {
      args_.weights = weights_.data() + i % copies_ * bytes_;
      launch();
    });
  }
  void Print(const Tile& tile, double ms) {
    const double flops = 2.0 * static_cast<double>(rows_ * shape_.outputs * shape_.inputs);
    if (session_.cublas != nullptr && cublas_ms_ == 0) {
      cublas_ms_ =
          CublasMilliseconds(session_.gpu, session_.loops, *session_.cublas, shape_, rows_);
    }
    if (read_ms_ == 0) {
      read_ms_ = TimeLaunches(session_.gpu, session_.loops, [&](int64_t i) {
        ReadBytes(weights_.data() + i % copies_ * bytes_, bytes_, out_.as<uint32_t>(),
                  session_.gpu.stream());
      });
    }
    const double bytes_per_s = static_cast<double>(bytes_) / (ms * 1e-3);
    std::printf(
        "{\"layer\": \"%s\", \"tp\": %ld, \"weights\": \"%s\", \"outputs\": %ld, \"inputs\": %ld, "
        "\"rows\": %ld, \"tile\": \"%s\", \"split\": %d, \"parts\": %d, \"us\": %.2f, "
        "\"weight_bytes_per_s\": %.4g, \"of_copy\": %.3f, \"of_read\": %.3f, \"flops_per_s\": "
        "%.4g, "
        "\"cublas_us\": %.2f, \"of_cublas\": %.3f}\n",
        layer_.name, static_cast<long>(layer_.shards), format_.name,
        static_cast<long>(shape_.outputs), static_cast<long>(shape_.inputs),
        static_cast<long>(rows_), Name(tile).c_str(), tile.split, tile.parts, ms * 1e3, bytes_per_s,
        bytes_per_s / session_.copy_bytes_per_s, read_ms_ / ms, flops / (ms * 1e-3),
        cublas_ms_ * 1e3, cublas_ms_ / ms);
    std::fflush(stdout);
  }

  const Session& session_;
  const Layer& layer_;
  const Weights& format_;
  const int64_t rows_;
  const LinearShape shape_;
  const int64_t bytes_;
  const int64_t copies_;
  DeviceBuffer weights_, x_, out_, arrivals_;
  LinearArgs args_;
  double cublas_ms_ = 0;
  double read_ms_ = 0;
};

// False if there is something that it does not understand.
bool Parse(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (argument == "--tiles") {
      options->tiles = true;
    } else if (argument == "--few") {
      options->tiles = options->only_few = true;
    } else if (argument == "--no-cublas") {
      options->cublas = false;
    } else if (value == nullptr) {
      return false;
    } else if (argument == "--rows") {
      options->rows.clear();
      for (char* at = argv[++i]; *at != 0; at += *at == ',' ? 1 : 0) {
        options->rows.push_back(std::max(1L, std::strtol(at, &at, 10)));
        if (*at != ',' && *at != 0) return false;
      }
    } else if (argument == "--weights") {
      options->weights = argv[++i];
    } else if (argument == "--layer") {
      options->layer = argv[++i];
    } else if (argument == "--tile") {
      options->tile = argv[++i];
    } else if (argument == "--tp") {
      options->shards = std::strtol(argv[++i], nullptr, 10);
    } else {
      return false;
    }
  }
  return true;
}

int Main(int argc, char** argv) {
  Options options;
  if (!Parse(argc, argv, &options)) {
    std::fprintf(stderr,
                 "usage: octet_linear_cuda_bench [--rows M,M,...] [--weights NAME] [--tp N] "
                 "[--layer NAME] [--tiles | --few] [--no-cublas]\n");
    return 2;
  }
  Result<std::unique_ptr<Gpu>> opened = Gpu::Open({});
  if (!opened.ok()) {
    std::fprintf(stderr, "%s\n", opened.status().message().c_str());
    return 1;
  }
  Gpu& gpu = **opened;
  gpu.MakeCurrent();
  const std::unique_ptr<CublasLt> cublas = options.cublas ? CublasLt::Load() : nullptr;
  const Session session = {gpu, cublas.get(), CopyBytesPerSecond(gpu),
                           options.only_few ? kLoopsOfFew : kLoops};
  std::printf("{\"device\": \"%s\", \"copy_bytes_per_s\": %.4g, \"cublas\": %s}\n",
              gpu.info().name.c_str(), session.copy_bytes_per_s,
              cublas != nullptr ? "true" : "false");
  for (const Weights& weights : kWeights) {
    if (!options.weights.empty() && options.weights != weights.name) continue;
    for (const Layer& layer : kLayers) {
      if (options.shards != 0 && options.shards != layer.shards) continue;
      if (!options.layer.empty() && options.layer != layer.name) continue;
      for (const int64_t rows : options.rows) {
        LayerBench bench(session, layer, weights, rows);
        options.tiles ? bench.EachTile(options.only_few, options.tile) : bench.Planned();
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace octet::kernels

int main(int argc, char** argv) { return octet::kernels::Main(argc, argv); }
