// How close attention on a GPU comes to its memory: bytes of the cache over the time, as a share of
// the bandwidth of a device copy measured before and after each case in the same run; int8 and int4
// against bf16; lengths from 128 to 16384 against equal ones of the same sum; prefill.
//
// Blocks of a sequence are scattered over the cache. Each time is the median of several launches
// after a warm-up, between events.
//
// --queued: each launch waits behind a copy that also fills the L2 cache, so that neither the
// host's part of a launch nor what the launch before left there is in its time.
//
// --workers N: so many in place of as many as the device holds.
//
//   octet_attention_bench [--quick] [--queued] [--workers N]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

#include "base/device/device.h"
#include "kernels/attention/attention.h"

namespace octet::kernels {
namespace {

constexpr int kLaunches = 9;
constexpr int64_t kHeadDim = 128;
constexpr int64_t kCopyBytes = int64_t{1} << 30;
constexpr int64_t kQueueBytes = int64_t{64} << 20;

DeviceBuffer Allocate(int64_t bytes) {
  Result<DeviceBuffer> buffer = DeviceBuffer::Allocate(bytes);
  if (!buffer.ok()) {
    std::fprintf(stderr, "%s\n", buffer.status().message().c_str());
    std::exit(1);
  }
  return std::move(buffer).value();
}

double MedianSeconds(
    Stream& stream, const std::function<void()>& work,
    const std::function<void()>& before = [] {}) {
  work();
  std::vector<double> times;
  for (int i = 0; i < kLaunches; ++i) {
    Event begin, end;
    before();
    begin.Record(stream);
    work();
    end.Record(stream);
    end.Synchronize();
    times.push_back(Event::MillisecondsBetween(begin, end) / 1000);
  }
  std::nth_element(times.begin(), times.begin() + kLaunches / 2, times.end());
  return times[kLaunches / 2];
}

// Bytes read plus bytes written a second.
double CopyBandwidth(Stream& stream) {
  const DeviceBuffer from = Allocate(kCopyBytes);
  const DeviceBuffer to = Allocate(kCopyBytes);
  const double seconds =
      MedianSeconds(stream, [&] { CopyOnDevice(to.data(), from.data(), kCopyBytes, stream); });
  return 2.0 * static_cast<double>(kCopyBytes) / seconds;
}

struct Case {
  KvFormat format = KvFormat::kInt8;
  int32_t kv_heads = 0;
  int32_t group = 0;             // query heads of a kv head
  std::vector<int64_t> lengths;  // of the contexts
  int64_t rows = 1;              // the last of each context
};

struct Figures {
  double seconds = 0;
  double cache_bytes = 0;  // read once by a decode step
  double operations = 0;   // 4 head_dim for each pair of vector and token seen
};

struct Options {
  bool quick = false;
  bool queued = false;
  int64_t workers = 0;  // 0: as many as the device holds
};
Options options;

// The inputs of one case on the device.
class Bench {
 public:
  Bench(Gpu& gpu, const Case& what) : gpu_(gpu), what_(what) {
    if (options.queued) queue_ = Allocate(2 * kQueueBytes);
    for (int32_t g = 0; g < what.kv_heads; ++g) groups_.push_back({g, g * what.group, what.group});
    layout_ = {what.format, what.kv_heads, kHeadDim};
    MakeCache();
    MakePlan();
    width_ = int64_t{what.kv_heads} * what.group * kHeadDim;
    const auto rows = static_cast<int64_t>(what.lengths.size()) * what.rows;
    std::vector<float> q(static_cast<size_t>(rows * width_));
    for (size_t i = 0; i < q.size(); ++i) q[i] = static_cast<float>(i % 251) / 125.0f - 1.0f;
    q_ = Allocate(rows * width_ * 4);
    CopyToDevice(q_.data(), q.data(), q_.bytes(), gpu.stream());
    out_ = Allocate(q_.bytes());
    Synchronize(gpu.stream());
  }

  Figures Run() {
    AttentionArgs args;
    args.layout = layout_;
    args.cache = cache_.data();
    args.q = q_.as<float>();
    args.out = out_.as<float>();
    args.q_stride = args.out_stride = width_;
    args.scale = 0.088f;
    args.workspace = workspace_.data();
    args.plan = plan_;
    args.block_tables = tables_.as<int32_t>();
    Figures figures;
    figures.seconds = MedianSeconds(
        gpu_.stream(), [&] { Attention(args, gpu_.stream()); },
        [&] {
          if (!options.queued) return;
          std::byte* to = queue_.data() + kQueueBytes;
          CopyOnDevice(to, queue_.data(), kQueueBytes, gpu_.stream());
        });
    for (const int64_t length : what_.lengths) {
      const double seen = static_cast<double>(what_.rows) *
                          (static_cast<double>(length) - static_cast<double>(what_.rows - 1) / 2);
      figures.cache_bytes +=
          static_cast<double>(length) / kKvBlockTokens * static_cast<double>(layout_.block_bytes());
      figures.operations += 4.0 * static_cast<double>(width_) * seen;
    }
    return figures;
  }

 private:
  // The same random values everywhere would do for time; codes and scales are kept finite.
  void MakeCache() {
    std::vector<int64_t> blocks_of;
    int64_t blocks = 0;
    for (const int64_t length : what_.lengths) {
      blocks_of.push_back((length + kKvBlockTokens - 1) / kKvBlockTokens);
      blocks += blocks_of.back();
    }
    std::vector<int32_t> tables(static_cast<size_t>(blocks));
    std::iota(tables.begin(), tables.end(), 0);
    std::shuffle(tables.begin(), tables.end(), std::mt19937(1));
    tables_ = Allocate(blocks * 4);
    CopyToDevice(tables_.data(), tables.data(), tables_.bytes(), gpu_.stream());
    cache_ = Allocate(blocks * layout_.block_bytes());
    FillBytes(cache_.data(), 0x2c, cache_.bytes(), gpu_.stream());  // f16 and bf16: small values
    Synchronize(gpu_.stream());
    int64_t offset = 0, row = 0;
    for (size_t s = 0; s < what_.lengths.size(); ++s) {
      const int64_t first = what_.lengths[s] - what_.rows;
      sequences_.push_back({row, what_.rows, first, nullptr, offset, first});
      row += what_.rows;
      offset += blocks_of[s];
    }
  }

  void MakePlan() {
    AttentionLimits limits;
    limits.slots = static_cast<int64_t>(what_.lengths.size());
    limits.step_rows = limits.slots * what_.rows;
    limits.context = *std::max_element(what_.lengths.begin(), what_.lengths.end());
    limits.workers = options.workers > 0
                         ? options.workers
                         : AttentionWorkers(layout_, gpu_.info(), groups_, limits.step_rows);
    limits.head_dim = kHeadDim;
    limits.groups = groups_;
    plan_ = SizeAttentionPlan(limits);
    std::vector<std::byte> bytes(static_cast<size_t>(plan_.plan_bytes()));
    BuildAttentionPlan(limits, 0, sequences_, bytes.data());
    device_plan_ = Allocate(plan_.plan_bytes());
    CopyToDevice(device_plan_.data(), bytes.data(), plan_.plan_bytes(), gpu_.stream());
    Synchronize(gpu_.stream());
    plan_.bytes = device_plan_.data();
    plan_.narrow_tiles = what_.rows * what_.group <= kAttentionNarrowVectors;
    plan_.wide_tiles = !plan_.narrow_tiles;
    workspace_ = Allocate(plan_.workspace_bytes());
    FillBytes(workspace_.data(), 0, workspace_.bytes(), gpu_.stream());
  }

  Gpu& gpu_;
  const Case& what_;
  KvLayout layout_;
  std::vector<HeadGroup> groups_;
  std::vector<AttentionSequence> sequences_;
  AttentionDevicePlan plan_;
  int64_t width_ = 0;
  DeviceBuffer cache_, tables_, device_plan_, workspace_, q_, out_, queue_;
};

Figures Measure(Gpu& gpu, const Case& what) { return Bench(gpu, what).Run(); }

void PrintDecode(Gpu& gpu, const char* heads, int32_t kv_heads, int32_t group, int64_t context,
                 int64_t batch) {
  const std::vector<int64_t> lengths(static_cast<size_t>(batch), context);
  const KvLayout bf16 = {KvFormat::kBF16, kv_heads, kHeadDim};
  if (batch * context / kKvBlockTokens * bf16.block_bytes() > gpu.free_bytes() / 2) return;
  const double copy = CopyBandwidth(gpu.stream());
  const Figures wide = Measure(gpu, {KvFormat::kBF16, kv_heads, group, lengths});
  const Figures int8 = Measure(gpu, {KvFormat::kInt8, kv_heads, group, lengths});
  const Figures int4 = Measure(gpu, {KvFormat::kInt4, kv_heads, group, lengths});
  const double copy_after = CopyBandwidth(gpu.stream());
  const double bandwidth = std::max(copy, copy_after);
  std::printf(
      "%-8s context %6lld batch %4lld  int8 %8.1f us, %.2f of copy | bf16 %.2f | int4 %.2f "
      "| int8 / bf16 time %.2f\n",
      heads, static_cast<long long>(context), static_cast<long long>(batch), int8.seconds * 1e6,
      int8.cache_bytes / int8.seconds / bandwidth, wide.cache_bytes / wide.seconds / bandwidth,
      int4.cache_bytes / int4.seconds / bandwidth, int8.seconds / wide.seconds);
}

// Lengths from 128 to 16384, eight of each, and equal ones of the same sum.
void PrintSkew(Gpu& gpu, int32_t kv_heads, int32_t group) {
  std::vector<int64_t> skewed;
  for (int64_t length = 128; length <= 16384; length *= 2) skewed.insert(skewed.end(), 8, length);
  std::shuffle(skewed.begin(), skewed.end(), std::mt19937(2));
  const int64_t sum = std::accumulate(skewed.begin(), skewed.end(), int64_t{0});
  const auto count = static_cast<int64_t>(skewed.size());
  const std::vector<int64_t> equal(skewed.size(), sum / count / 64 * 64);
  const Figures one = Measure(gpu, {KvFormat::kInt8, kv_heads, group, skewed});
  const Figures other = Measure(gpu, {KvFormat::kInt8, kv_heads, group, equal});
  std::printf("kv heads %d, group %d: skewed over equal, per byte: %.3f\n", kv_heads, group,
              one.seconds / one.cache_bytes / (other.seconds / other.cache_bytes));
}

void PrintPrefill(Gpu& gpu, KvFormat format, const char* name, int32_t kv_heads, int32_t group,
                  int64_t context, int64_t rows) {
  const Figures figures = Measure(gpu, {format, kv_heads, group, {context}, rows});
  std::printf("%-5s kv heads %2d, group %d: %5lld rows of %5lld: %8.1f us, %6.1f TFLOP/s\n", name,
              kv_heads, group, static_cast<long long>(rows), static_cast<long long>(context),
              figures.seconds * 1e6, figures.operations / figures.seconds * 1e-12);
}

int Main() {
  Result<std::unique_ptr<Gpu>> gpu = Gpu::Open({});
  if (!gpu.ok()) {
    std::fprintf(stderr, "%s\n", gpu.status().message().c_str());
    return 1;
  }
  (*gpu)->MakeCurrent();
  std::printf("%s\n", Describe((*gpu)->info()).c_str());
  for (const int64_t context : {512, 2048, 8192, 32768}) {
    for (const int64_t batch : {1, 16, 64, 256}) {
      if (options.quick && (context == 32768 || batch == 256)) continue;
      PrintDecode(**gpu, "MHA 64", 64, 1, context, batch);
      PrintDecode(**gpu, "GQA 64/8", 8, 8, context, batch);
    }
  }
  PrintSkew(**gpu, 64, 1);
  PrintSkew(**gpu, 8, 8);
  for (const int64_t context : {2048, 8192}) {
    for (const int64_t rows : {int64_t{512}, context}) {
      PrintPrefill(**gpu, KvFormat::kInt8, "int8", 8, 8, context, rows);
      PrintPrefill(**gpu, KvFormat::kBF16, "bf16", 8, 8, context, rows);
      PrintPrefill(**gpu, KvFormat::kInt8, "int8", 64, 1, context, rows);
    }
  }
  return 0;
}

}  // namespace
}  // namespace octet::kernels

int main(int argc, char** argv) {
  octet::kernels::Options& options = octet::kernels::options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--quick") {
      options.quick = true;
    } else if (argument == "--queued") {
      options.queued = true;
    } else if (argument == "--workers" && i + 1 < argc) {
      options.workers = std::atoll(argv[++i]);
    } else {
      std::fprintf(stderr, "usage: octet_attention_bench [--quick] [--queued] [--workers N]\n");
      return 2;
    }
  }
  return octet::kernels::Main();
}
