#include "kernels/roofline/roofline.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "base/buffer.h"
#include "base/check.h"
#include "base/host_limits.h"
#include "kernels/isa.h"
#include "kernels/roofline/last_level_cache.h"
#include "kernels/roofline/probes.h"

namespace octet::kernels {
namespace {

// Repetitions are short, so that on a busy machine some are not interrupted. Reads go through a
// buffer several times the last-level caches, a slice per thread and repetition: not so short that
// the best one is of a slice that the caches happened to hold (README.md).
constexpr int64_t kSliceBytes = int64_t{4} << 20;
constexpr int kReadRepetitions = 400;
// Some processors read fastest alone, some when asked, and the distance and the number of places at
// once decide (README.md). The best counts.
constexpr ReadOrder kReadOrders[] = {{1, 0}, {1, 1024}, {1, 4096}, {2, 0}, {2, 1024}};
constexpr int64_t kPeakSteps = 40000;  // about 0.1 ms
constexpr int kPeakRepetitions = 400;

struct Probes {
  ReadProbe read;
  PeakProbe peak;
};

Probes ActiveProbes() {
#if defined(__x86_64__)
  return OfActiveIsa<Probes>({ReadPlain, PeakPlain}, {ReadAvx2, PeakAvx2},
                             {ReadAvx512, PeakAvx512});
#else
  return {ReadPlain, PeakPlain};
#endif
}

struct Seconds {
  double best = 1e30;
  double all = 0;
};

// Runs body(repetition, thread) on all threads `repetitions` times; what the shortest took, and
// all of them.
template <typename Body>
Seconds Repeat(ThreadPool& pool, int repetitions, const Body& body) {
  Seconds seconds;
  for (int i = 0; i < repetitions; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    pool.OnEachThread([&](int thread) { body(i, thread); });
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    seconds.best = std::min(seconds.best, taken.count());
    seconds.all += taken.count();
  }
  return seconds;
}

}  // namespace

ReadBandwidth MeasureReadBandwidth(Stream& stream) {
  OCTET_CHECK(stream.device() == Device::kCpu);
  const Probes probes = ActiveProbes();
  const int64_t threads = stream.pool().threads();
  const int64_t slices = ReadBufferBytes(LastLevelCacheBytes(), HostMemoryBytes()) / kSliceBytes;
  const Buffer buffer(slices * kSliceBytes);
  // A page that was never written may be one shared page of zeros, which lives in the cache.
  stream.pool().ParallelFor(slices, 1, [&](int64_t slice, int64_t) {
    std::byte* const begin = buffer.data() + slice * kSliceBytes;
    for (int64_t at = 0; at < kSliceBytes; at += 4096) begin[at] = std::byte{1};
  });
  std::atomic<uint64_t> kept{0};  // so that the reads may not be left out
  const auto round_bytes = static_cast<double>(kSliceBytes * threads);
  ReadBandwidth bandwidth;
  for (const ReadOrder order : kReadOrders) {
    const auto read = [&](int64_t i, int thread) {
      const int64_t slice = (i * threads + thread) % slices;
      kept += probes.read(buffer.data() + slice * kSliceBytes, kSliceBytes, order);
    };
    const Seconds seconds = Repeat(stream.pool(), kReadRepetitions, read);
    bandwidth.best = std::max(bandwidth.best, round_bytes / seconds.best);
    const double sustained = round_bytes * kReadRepetitions / seconds.all;
    if (sustained > bandwidth.sustained) {
      bandwidth.sustained = sustained;
      bandwidth.order = order;
    }
  }
  return bandwidth;
}

double MeasureInt8Peak(Stream& stream) {
  OCTET_CHECK(stream.device() == Device::kCpu);
  const Probes probes = ActiveProbes();
  std::atomic<int64_t> operations{0};
  const Seconds seconds = Repeat(stream.pool(), kPeakRepetitions,
                                 [&](int64_t, int) { operations += probes.peak(kPeakSteps); });
  return static_cast<double>(operations) / kPeakRepetitions / seconds.best;
}

}  // namespace octet::kernels
