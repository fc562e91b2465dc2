// How close a linear comes to the machine: for each shape, format, row count and thread count, its
// share of the read bandwidth and of the int8 peak, both measured in the same run and again after
// each shape, because the machine may be shared. Times are the best of several; with one thread
// they are the thread's own, so that being interrupted does not count.
//
// Weights rotate through copies that together exceed the caches, so that they come from memory.
// (96 MiB did not exceed those of a server: one row then seemed to read at 0.9 of the bandwidth.)
//
//   octet_linear_bench [--float] [--threads N] [--shape OUTPUTSxINPUTS] [--isa FAMILY]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/dtype.h"
#include "base/sum_tree.h"
#include "kernels/isa.h"
#include "kernels/linear/linear.h"
#include "kernels/roofline/roofline.h"

namespace octet::kernels {
namespace {

constexpr int64_t kRotatedBytes = int64_t{640} << 20;
constexpr double kSecondsPerCase = 0.25;
constexpr int64_t kRows[] = {1, 4, 8, 16, 64, 512};

struct Kind {
  const char* name;
  WeightFormat format;
  bool asymmetric;
  ActivationFormat activation;
};

constexpr Kind kInt8Kinds[] = {
    {"int4 sym", WeightFormat::kInt4, false, ActivationFormat::kInt8},
    {"int4 asym", WeightFormat::kInt4, true, ActivationFormat::kInt8},
    {"int8", WeightFormat::kInt8, false, ActivationFormat::kInt8},
};
constexpr Kind kFloatKinds[] = {
    {"int4 x bf16", WeightFormat::kInt4, false, ActivationFormat::kBF16},
    {"int8 x bf16", WeightFormat::kInt8, false, ActivationFormat::kBF16},
    {"bf16", WeightFormat::kBF16, false, ActivationFormat::kBF16},
    {"f32", WeightFormat::kF32, false, ActivationFormat::kF32},
};

struct Machine {
  double read_bytes_per_s = 0;
  double int8_ops_per_s = 0;

  void Measure(Stream& stream) {
    read_bytes_per_s = std::max(read_bytes_per_s, MeasureReadBandwidth(stream).best);
    int8_ops_per_s = std::max(int8_ops_per_s, MeasureInt8Peak(stream));
  }
};

LinearShape MakeShape(const Kind& kind, int64_t outputs, int64_t inputs) {
  const SumTree tree = SumTree::OverInputs(inputs);
  LinearShape shape;
  shape.format = kind.format;
  shape.outputs = outputs;
  shape.inputs = inputs;
  shape.asymmetric = kind.asymmetric;
  shape.leaf_bounds = tree.bounds();
  shape.merges = tree.MergesWithin({0, tree.leaf_count()});
  return shape;
}

NeutralRows MakeRows(const LinearShape& shape, int64_t rows) {
  NeutralRows made;
  made.rows = rows;
  if (!IsQuantized(shape.format)) {
    made.values.assign(rows * shape.inputs * (shape.format == WeightFormat::kF32 ? 4 : 2), 0x3c);
    return made;
  }
  made.codes.resize(rows * shape.inputs);
  for (size_t i = 0; i < made.codes.size(); ++i) made.codes[i] = (i * 7 + i / 64) % 16;
  made.scales.assign(rows * shape.group_count(), 0.015625f);
  if (shape.asymmetric) made.offsets.assign(rows * shape.group_count(), -0.125f);
  return made;
}

double Seconds(const Stream& stream) {
  timespec now = {};
  clock_gettime(stream.pool().threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// The shortest seconds of one call.
double BestSeconds(const LinearShape& shape, const Buffer& copies, const Kind& kind, int64_t rows,
                   Stream& stream) {
  std::vector<float> x(rows * shape.inputs);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 251) * 0.01f - 1.0f;
  std::vector<float> out(rows * shape.outputs);
  const Buffer workspace(LinearWorkspaceBytes(shape, kind.activation, rows));
  LinearArgs args;
  args.shape = &shape;
  args.x = x.data();
  args.x_stride = shape.inputs;
  args.rows = rows;
  args.out = out.data();
  args.activation = kind.activation;
  args.workspace = workspace.data();
  const int64_t bytes = PackedLinearBytes(shape);
  const auto copy_count = static_cast<size_t>(copies.bytes() / bytes);
  double best = 1e30;
  double total = 0;
  for (size_t call = 0; total < kSecondsPerCase || call < 6; ++call) {
    args.weights = copies.data() + call % copy_count * bytes;
    const double begin = Seconds(stream);
    Linear(args, stream);
    const double taken = Seconds(stream) - begin;
    total += taken;
    if (call > 1) best = std::min(best, taken);
  }
  return best;
}

void BenchShape(const Kind& kind, int64_t outputs, int64_t inputs, Machine& machine,
                Stream& stream) {
  const LinearShape shape = MakeShape(kind, outputs, inputs);
  const int64_t bytes = PackedLinearBytes(shape);
  // One buffer, so that all of it lies in huge pages, as a model's weights do.
  const int64_t copy_count = (kRotatedBytes + bytes - 1) / bytes;
  const Buffer copies(copy_count * bytes);
  PackLinearRows(shape, 0, MakeRows(shape, outputs), copies.data());
  for (int64_t copy = 1; copy < copy_count; ++copy) {
    std::memcpy(copies.data() + copy * bytes, copies.data(), bytes);
  }
  std::vector<double> seconds;
  for (const int64_t rows : kRows) {
    seconds.push_back(BestSeconds(shape, copies, kind, rows, stream));
  }
  machine.Measure(stream);
  for (size_t i = 0; i < seconds.size(); ++i) {
    const double operations = 2.0 * static_cast<double>(outputs * inputs * kRows[i]);
    std::printf(
        "%-11s %-12s %5ld x %5ld  threads %d  rows %3ld  %9.1f us  %7.1f GOPS  read %5.3f  "
        "int8 %5.3f\n",
        IsaName(ActiveIsa()).data(), kind.name, static_cast<long>(outputs),
        static_cast<long>(inputs), stream.pool().threads(), static_cast<long>(kRows[i]),
        seconds[i] * 1e6, operations / seconds[i] * 1e-9,
        static_cast<double>(bytes) / seconds[i] / machine.read_bytes_per_s,
        operations / seconds[i] / machine.int8_ops_per_s);
  }
  std::fflush(stdout);
}

struct Size {
  int64_t outputs;
  int64_t inputs;
};

template <size_t kCount>
void Bench(const Kind (&kinds)[kCount], int threads, const std::vector<Size>& sizes) {
  ThreadPool pool(threads);
  Stream stream(&pool);
  Machine machine;
  machine.Measure(stream);
  for (const Kind& kind : kinds) {
    for (const Size& size : sizes) BenchShape(kind, size.outputs, size.inputs, machine, stream);
  }
  std::printf("%s, %d threads: read %.1f GB/s, int8 %.3f TOPS\n", IsaName(ActiveIsa()).data(),
              threads, machine.read_bytes_per_s * 1e-9, machine.int8_ops_per_s * 1e-12);
}

}  // namespace
}  // namespace octet::kernels

int main(int argc, char** argv) {
  using namespace octet::kernels;
  bool floats = false;
  std::vector<int> threads = {1, 2};
  std::vector<Size> sizes = {{2048, 2048}, {8192, 2048}, {2048, 8192}};
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--float") {
      floats = true;
    } else if (argument == "--threads" && i + 1 < argc) {
      threads = {std::max(1, std::atoi(argv[++i]))};
    } else if (argument == "--shape" && i + 1 < argc) {
      char* rest = nullptr;
      const int64_t outputs = std::strtol(argv[++i], &rest, 10);
      sizes = {{outputs, *rest == 'x' ? std::strtol(rest + 1, nullptr, 10) : outputs}};
    } else if (argument == "--isa" && i + 1 < argc) {
      const octet::Result<Isa> isa = ChooseIsa(argv[++i]);
      if (!isa.ok()) {
        std::fprintf(stderr, "--isa as %s\n", isa.status().message().c_str());
        return 2;
      }
      ForceIsa(*isa);
    } else {
      std::fprintf(stderr,
                   "usage: octet_linear_bench [--float] [--threads N] [--shape OUTPUTSxINPUTS] "
                   "[--isa plain|avx2|avx512|amx]\n");
      return 2;
    }
  }
  for (const int count : threads) {
    if (floats) {
      Bench(kFloatKinds, count, sizes);
    } else {
      Bench(kInt8Kinds, count, sizes);
    }
  }
  return 0;
}
