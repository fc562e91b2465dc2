// How close attention on the CPU comes to the machine: bytes of the cache a second over the read
// bandwidth, and operations a second (4 head_dim for each pair of vector and token seen) over the
// int8 peak, both measured before and after each case in the same run. int8 beside bf16.
//
// Blocks of a sequence are scattered over the cache, and layers rotate through as much memory as
// the bandwidth is measured on. Times are medians of passes over all layers, int8 and bf16 in
// turns.
//
//   octet_attention_cpu_bench [--threads N] [--case SUBSTRING] [--passes N] [--hot | --in-order]
//
// --hot: all blocks are four that stay in the caches: what the instructions alone take.
// --in-order: blocks follow each other, as a service that has just begun hands them out.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/isa.h"
#include "kernels/kv_cache/kv_cache.h"
#include "kernels/roofline/probes.h"
#include "kernels/roofline/roofline.h"

namespace octet::kernels {
namespace {

constexpr int64_t kRotatedBytes = int64_t{1280} << 20;  // some last-level caches hold 480 MB
constexpr int64_t kPrototypes = 4;  // blocks of random tokens that the cache is made of

struct Case {
  const char* name;
  int64_t sequences;
  int64_t context;
  int64_t rows;  // the last of each context
  int32_t kv_heads;
  int32_t group;  // query heads of a kv head
  int64_t head_dim;
};

constexpr Case kCases[] = {
    {"decode b1 8k MHA 16x128", 1, 8192, 1, 16, 1, 128},
    {"decode b8 1k MHA 16x128", 8, 1024, 1, 16, 1, 128},
    {"decode b16 1k MHA 16x128", 16, 1024, 1, 16, 1, 128},
    {"decode b1 8k GQA 32/8x64", 1, 8192, 1, 8, 4, 64},
    {"decode b16 1k GQA 32/8x64", 16, 1024, 1, 8, 4, 64},
    {"decode b1 256 GQA 32/8x64", 1, 256, 1, 8, 4, 64},
    {"decode b1 600 MHA 16x128", 1, 600, 1, 16, 1, 128},
    {"decode b1 8k GQA 64/8x128", 1, 8192, 1, 8, 8, 128},
    {"prefill 1k MHA 16x128", 1, 1024, 1024, 16, 1, 128},
    {"prefill 1k GQA 32/8x64", 1, 1024, 1024, 8, 4, 64},
};

std::vector<float> Normal(int64_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> draw;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = draw(engine);
  return values;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

enum class Blocks : uint8_t { kScattered, kInOrder, kHot };

class Bench {
 public:
  Bench(const Case& what, KvFormat format, Blocks blocks, Stream& stream)
      : what_(what), stream_(stream) {
    layout_ = {format, what.kv_heads, what.head_dim,
               format == KvFormat::kInt8 ? KvOrder::kFours : KvOrder::kRows};
    blocks_ = what.sequences * (what.context / kKvBlockTokens);
    // Few layers are enough where the time does not go to memory.
    const int64_t bytes = what.rows > 1 || blocks == Blocks::kHot ? 1 : kRotatedBytes;
    layers_ = std::max<int64_t>(1, bytes / (blocks_ * layout_.block_bytes()));
    cache_ = Buffer(layers_ * blocks_ * layout_.block_bytes());
    FillCache();
    tables_.resize(static_cast<size_t>(blocks_));
    std::iota(tables_.begin(), tables_.end(), 0);
    if (blocks != Blocks::kInOrder) {
      std::shuffle(tables_.begin(), tables_.end(), std::mt19937(1));
    }
    if (blocks == Blocks::kHot) {
      for (int32_t& block : tables_) block %= kPrototypes;
    }
    for (int64_t s = 0; s < what.sequences; ++s) {
      sequences_.push_back({s * what.rows, what.rows, what.context - what.rows,
                            tables_.data() + s * (what.context / kKvBlockTokens)});
    }
    for (int32_t g = 0; g < what.kv_heads; ++g) groups_.push_back({g, g * what.group, what.group});
    const int64_t heads = int64_t{what.kv_heads} * what.group;
    width_ = heads * what.head_dim;
    const std::vector<float> q = Normal(what.sequences * what.rows * width_, 3);
    q_ = Buffer(static_cast<int64_t>(q.size() * sizeof(float)));
    std::memcpy(q_.data(), q.data(), q.size() * sizeof(float));
    out_ = Buffer(q_.bytes());
    workspace_ = Buffer(AttentionWorkspaceBytes(heads, what.head_dim, stream.pool().threads()));
    Pass();
  }

  void Pass() {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t layer = 0; layer < layers_; ++layer) Run(layer);
    seconds_.push_back(SecondsOfLayer(begin));
  }

  // The same bytes, in the order that serves best (kernels/roofline).
  void ReadPass(ReadOrder order) {
    const ReadProbe read = OfActiveIsa<ReadProbe>(ReadPlain, ReadAvx2, ReadAvx512);
    const int64_t threads = stream_.pool().threads();
    const int64_t bytes = blocks_ * layout_.block_bytes();
    const int64_t share = bytes / threads / 1024 * 1024;
    std::atomic<uint64_t> kept{0};  // so that the reads may not be left out
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t layer = 0; layer < layers_; ++layer) {
      stream_.pool().OnEachThread([&](int thread) {
        kept += read(cache_.data() + layer * bytes + thread * share, share, order);
      });
    }
    read_seconds_.push_back(SecondsOfLayer(begin));
  }

  // Of one layer; the first pass was a warm-up.
  double MedianSeconds() const { return Median({seconds_.begin() + 1, seconds_.end()}); }
  double MedianReadSeconds() const { return Median(read_seconds_); }
  double CacheBytes() const { return static_cast<double>(blocks_ * layout_.block_bytes()); }
  double Operations() const {
    const double seen =
        static_cast<double>(what_.context) - static_cast<double>(what_.rows - 1) / 2;
    return 4.0 * static_cast<double>(what_.sequences * what_.rows * width_) * seen;
  }

 private:
  double SecondsOfLayer(std::chrono::steady_clock::time_point begin) const {
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    return taken.count() / static_cast<double>(layers_);
  }

  void FillCache() {
    const int64_t tokens = kPrototypes * kKvBlockTokens;
    const int64_t width = what_.kv_heads * what_.head_dim;
    const std::vector<float> k = Normal(tokens * width, 1);
    const std::vector<float> v = Normal(tokens * width, 2);
    std::vector<int64_t> slots(static_cast<size_t>(tokens));
    std::iota(slots.begin(), slots.end(), 0);
    const Buffer made(kPrototypes * layout_.block_bytes());
    AppendKv({layout_, made.data(), k.data(), v.data(), width, tokens, slots.data()}, stream_);
    for (int64_t b = 0; b < layers_ * blocks_; ++b) {
      std::memcpy(cache_.data() + b * layout_.block_bytes(),
                  made.data() + b % kPrototypes * layout_.block_bytes(),
                  static_cast<size_t>(layout_.block_bytes()));
    }
  }

  void Run(int64_t layer) {
    AttentionArgs args;
    args.layout = layout_;
    args.cache = cache_.data() + layer * blocks_ * layout_.block_bytes();
    args.q = reinterpret_cast<const float*>(q_.data());
    args.out = reinterpret_cast<float*>(out_.data());
    args.q_stride = args.out_stride = width_;
    args.sequences = sequences_;
    args.groups = groups_;
    args.scale = 0.1f;
    args.workspace = workspace_.data();
    Attention(args, stream_);
  }

  const Case& what_;
  Stream& stream_;
  KvLayout layout_;
  int64_t blocks_ = 0;  // of a layer
  int64_t layers_ = 0;
  int64_t width_ = 0;
  Buffer cache_{0}, workspace_{0}, q_{0}, out_{0};
  std::vector<int32_t> tables_;
  std::vector<AttentionSequence> sequences_;
  std::vector<HeadGroup> groups_;
  std::vector<double> seconds_, read_seconds_;
};

void Print(const Case& what, int passes, Blocks blocks, Stream& stream) {
  const ReadBandwidth before = MeasureReadBandwidth(stream);
  double peak = MeasureInt8Peak(stream);
  Bench int8(what, KvFormat::kInt8, blocks, stream);
  Bench bf16(what, KvFormat::kBF16, blocks, stream);
  for (int i = 0; i < passes; ++i) {
    int8.Pass();
    int8.ReadPass(before.order);
    bf16.Pass();
  }
  const double bandwidth = std::max(before.best, MeasureReadBandwidth(stream).best);
  peak = std::max(peak, MeasureInt8Peak(stream));
  const double seconds = int8.MedianSeconds();
  const double reading = int8.MedianReadSeconds();
  std::printf(
      "%-26s %9.1f us, %.2f of %.1f GB/s, plain reading %.1f us (%.2f, %.1f GB/s), %.3f of %.2f "
      "TOPS | bf16 %.2f of bandwidth, %.2f times int8's time\n",
      what.name, seconds * 1e6, int8.CacheBytes() / seconds / bandwidth, bandwidth * 1e-9,
      reading * 1e6, reading / seconds, int8.CacheBytes() / reading * 1e-9,
      int8.Operations() / seconds / peak, peak * 1e-12,
      bf16.CacheBytes() / bf16.MedianSeconds() / bandwidth, bf16.MedianSeconds() / seconds);
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  int threads = 2, passes = 7;
  Blocks blocks = Blocks::kScattered;
  std::string_view wanted;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--hot") {
      blocks = Blocks::kHot;
    } else if (argument == "--in-order") {
      blocks = Blocks::kInOrder;
    } else if (argument == "--threads" && i + 1 < argc) {
      threads = std::atoi(argv[++i]);
    } else if (argument == "--passes" && i + 1 < argc) {
      passes = std::atoi(argv[++i]);
    } else if (argument == "--case" && i + 1 < argc) {
      wanted = argv[++i];
    } else {
      std::fprintf(stderr,
                   "usage: octet_attention_cpu_bench [--threads N] [--case SUBSTRING] [--passes N] "
                   "[--hot | --in-order]\n");
      return 2;
    }
  }
  ThreadPool pool(std::max(threads, 1));
  Stream stream(&pool);
  std::printf("%s, %d threads\n", std::string(IsaName(ActiveIsa())).c_str(), pool.threads());
  for (const Case& what : kCases) {
    if (std::string_view(what.name).find(wanted) != std::string_view::npos) {
      Print(what, std::max(passes, 1), blocks, stream);
    }
  }
  return 0;
}

}  // namespace
}  // namespace octet::kernels

int main(int argc, char** argv) { return octet::kernels::Main(argc, argv); }
