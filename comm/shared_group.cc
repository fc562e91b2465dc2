#include "comm/shared_group.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "base/buffer.h"
#include "base/check.h"

namespace octet::comm {
namespace {

// Larger messages go in rounds; small limits do not make rounds of a few lines. Measured on 2
// cores: 1 MiB is slower from 256 KiB a rank on, 8 MiB no faster.
constexpr int64_t kAreaBytesMax = int64_t{1} << 21;
constexpr int64_t kAreaBytesMin = int64_t{1} << 14;

// Up to this many bytes of roots, over all ranks, every rank adds up all of them: one wait. Above,
// each adds its slice and they exchange the slices: two waits, less reading. Measured: where the
// two meet at 8 ranks on 2 cores, and somewhat below where they do at 3 and 4.
constexpr int64_t kOneShotBytesMax = int64_t{128} << 10;
// Two ranks read as much either way.
constexpr int kOneShotRanks = 2;

constexpr int64_t kHeaderBytes = 2 * kBufferAlignment;
constexpr int64_t kLineFloats = kBufferAlignment / static_cast<int64_t>(sizeof(float));
constexpr int64_t kGrainFloats = 8192;  // of one item of the thread pool

std::byte* Aligned(std::byte* region) {
  const auto address = reinterpret_cast<uintptr_t>(region);
  return region + (AlignUp(static_cast<int64_t>(address)) - static_cast<int64_t>(address));
}

void CopyFloats(float* to, const float* from, int64_t count, ThreadPool& pool) {
  pool.ParallelFor(count, kGrainFloats, [=](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin) * sizeof(float));
  });
}

}  // namespace

struct SharedGroup::Header {
  alignas(kBufferAlignment) std::atomic<uint32_t> arrived{0};  // ranks, in the current round
  WaitWord complete;                                           // the last round all arrived in
};

// A run of elements of one TreeAllReduce that fits an area.
struct SharedGroup::Piece {
  const ExchangeTree& tree;
  RootShare share;
  const float* roots;   // [share.own, root_stride], at the piece's first element
  int64_t root_stride;  // floats
  float* out;           // [count]
  int64_t count;        // elements
  ThreadPool& pool;

  int64_t area_stride() const { return AlignUp(count, kLineFloats); }
  // All ranks' roots, in order, as they lie in an area.
  std::array<const float*, kRootsMax> RootsIn(const float* area) const {
    std::array<const float*, kRootsMax> pointers;
    for (int64_t i = 0; i < share.total; ++i) pointers[i] = area + i * area_stride();
    return pointers;
  }
  // out[k] for k in [begin, end).
  void Sum(std::span<const float* const> pointers, int64_t begin, int64_t end, float* sums) const {
    pool.ParallelFor(end - begin, kGrainFloats, [&](int64_t from, int64_t to) {
      OrderedSum(pointers, tree.merges, begin + from, begin + to, sums);
    });
  }
};

int64_t AreaBytes(const CommunicatorLimits& limits, int ranks) {
  // Every root starts a line.
  const int64_t reduce_bytes =
      limits.reduce_floats_max * ranks * static_cast<int64_t>(sizeof(float)) +
      kRootsMax * kBufferAlignment;
  const int64_t wanted =
      std::max({limits.gather_bytes_max, limits.broadcast_bytes_max, reduce_bytes, kAreaBytesMin});
  return AlignUp(std::min(wanted, kAreaBytesMax));
}

int64_t SharedRegionBytes(const CommunicatorLimits& limits, int ranks) {
  return kBufferAlignment + kHeaderBytes + 2 * AreaBytes(limits, ranks);  // first, what aligns it
}

void SharedGroup::Initialize(std::byte* region) {
  static_assert(sizeof(Header) == kHeaderBytes);
  new (Aligned(region)) Header();
}

SharedGroup::SharedGroup(std::shared_ptr<std::byte> region, int rank, int ranks,
                         const CommunicatorLimits& limits, const std::atomic<bool>* stop)
    : region_(std::move(region)),
      header_(reinterpret_cast<Header*>(Aligned(region_.get()))),
      areas_(Aligned(region_.get()) + kHeaderBytes),
      rank_(rank),
      ranks_(ranks),
      limits_(limits),
      area_bytes_(AreaBytes(limits, ranks)),
      wait_{rank, HaveCores(ranks, limits.threads_per_rank) ? kSpinUs : 0, stop} {}

// Of the round that is about to begin; may be written.
std::byte* SharedGroup::NextArea() {
  AwaitAll();
  return areas_ + ((round_ + 1) & 1) * area_bytes_;
}

std::byte* SharedGroup::BeginRound() {
  std::byte* area = NextArea();
  ++round_;
  return area;
}

void SharedGroup::Arrive() {
  if (header_->arrived.fetch_add(1, std::memory_order_acq_rel) + 1 !=
      static_cast<uint32_t>(ranks_)) {
    return;
  }
  header_->arrived.store(0, std::memory_order_relaxed);  // nobody arrives again before Publish
  header_->complete.Publish(round_);
}

void SharedGroup::AwaitAll() { header_->complete.WaitAtLeast(round_, wait_); }

void SharedGroup::Barrier() {
  BeginRound();
  Arrive();
  AwaitAll();
}

void SharedGroup::Broadcast(std::span<std::byte> data, int root) {
  const auto bytes = static_cast<int64_t>(data.size());
  OCTET_CHECK_LE(bytes, limits_.broadcast_bytes_max);
  OCTET_CHECK(root >= 0 && root < ranks_);
  for (int64_t begin = 0; begin < bytes; begin += area_bytes_) {
    const auto part = static_cast<size_t>(std::min(area_bytes_, bytes - begin));
    std::byte* area = BeginRound();
    if (rank_ == root) std::memcpy(area, data.data() + begin, part);
    Arrive();
    if (rank_ == root) continue;
    AwaitAll();
    std::memcpy(data.data() + begin, area, part);
  }
}

// The areas are cut across the gathered bytes, not per rank: uneven parts cost no rounds.
void SharedGroup::AllGather(std::span<const std::byte> send, std::span<const int64_t> bytes_of_rank,
                            std::span<std::byte> recv, Stream& stream) {
  OCTET_CHECK(stream.device() == Device::kCpu);
  OCTET_CHECK_EQ(static_cast<int>(bytes_of_rank.size()), ranks_);
  OCTET_CHECK_EQ(static_cast<int64_t>(send.size()), bytes_of_rank[rank_]);
  int64_t total = 0;
  int64_t own_begin = 0;
  for (int r = 0; r < ranks_; ++r) {
    if (r == rank_) own_begin = total;
    total += bytes_of_rank[r];
  }
  OCTET_CHECK_EQ(static_cast<int64_t>(recv.size()), total);
  OCTET_CHECK_LE(total, limits_.gather_bytes_max);
  const int64_t own_end = own_begin + bytes_of_rank[rank_];
  for (int64_t begin = 0; begin < total; begin += area_bytes_) {
    const int64_t end = std::min(begin + area_bytes_, total);
    std::byte* area = BeginRound();
    const int64_t from = std::max(begin, own_begin);
    const int64_t to = std::min(end, own_end);
    if (from < to) {
      std::memcpy(area + from - begin, send.data() + from - own_begin,
                  static_cast<size_t>(to - from));
    }
    Arrive();
    AwaitAll();
    std::memcpy(recv.data() + begin, area, static_cast<size_t>(end - begin));
  }
}

bool SharedGroup::AllAddAll(const RootShare& share, int64_t count) const {
  const int64_t bytes = share.total * count * static_cast<int64_t>(sizeof(float));
  return ranks_ <= kOneShotRanks || bytes <= kOneShotBytesMax;
}

void SharedGroup::TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out,
                                int64_t count, Stream& stream) {
  OCTET_CHECK(stream.device() == Device::kCpu);
  const RootShare share = ShareOf(tree, rank_, ranks_);
  OCTET_CHECK_LE(share.own_max * count, limits_.reduce_floats_max);
  const bool by_all = AllAddAll(share, count);
  const int64_t area_floats = area_bytes_ / static_cast<int64_t>(sizeof(float));
  const int64_t piece_max = area_floats / share.total / kLineFloats * kLineFloats;
  for (int64_t begin = 0; begin < count; begin += piece_max) {
    const Piece piece = {.tree = tree,
                         .share = share,
                         .roots = roots + begin,
                         .root_stride = count,
                         .out = out + begin,
                         .count = std::min(piece_max, count - begin),
                         .pool = stream.pool()};
    by_all ? SumByAll(piece) : SumBySlices(piece);
  }
}

// Whether roots lie in an area as they do in memory: all of them, each on lines of its own.
bool SharedGroup::FitsAnArea(const RootShare& share, int64_t count) const {
  const int64_t bytes = share.total * count * static_cast<int64_t>(sizeof(float));
  return count % kLineFloats == 0 && bytes <= area_bytes_;
}

float* SharedGroup::RootsPlace(const ExchangeTree& tree, int64_t count) {
  const RootShare share = ShareOf(tree, rank_, ranks_);
  if (!FitsAnArea(share, count)) return nullptr;
  return reinterpret_cast<float*>(NextArea()) + share.first * count;
}

const float* SharedGroup::GatherRoots(const ExchangeTree& tree, const float* roots, int64_t count,
                                      Stream& stream) {
  OCTET_CHECK(stream.device() == Device::kCpu);
  const RootShare share = ShareOf(tree, rank_, ranks_);
  OCTET_CHECK_LE(share.own_max * count, limits_.reduce_floats_max);
  if (!FitsAnArea(share, count) || !AllAddAll(share, count)) return nullptr;
  auto* area = reinterpret_cast<float*>(BeginRound());
  PublishRoots({.tree = tree,
                .share = share,
                .roots = roots,
                .root_stride = count,
                .out = nullptr,
                .count = count,
                .pool = stream.pool()},
               area);
  Arrive();
  AwaitAll();
  return area;
}

void SharedGroup::PublishRoots(const Piece& piece, float* area) {
  float* own = area + piece.share.first * piece.area_stride();
  if (piece.roots == own) return;  // they were written in their place
  for (int64_t i = 0; i < piece.share.own; ++i) {
    CopyFloats(own + i * piece.area_stride(), piece.roots + i * piece.root_stride, piece.count,
               piece.pool);
  }
}

void SharedGroup::SumByAll(const Piece& piece) {
  auto* area = reinterpret_cast<float*>(BeginRound());
  PublishRoots(piece, area);
  Arrive();
  AwaitAll();
  const auto pointers = piece.RootsIn(area);
  piece.Sum({pointers.data(), static_cast<size_t>(piece.share.total)}, 0, piece.count, piece.out);
}

void SharedGroup::SumBySlices(const Piece& piece) {
  auto* area = reinterpret_cast<float*>(BeginRound());
  PublishRoots(piece, area);
  Arrive();
  const int64_t slice = AlignUp((piece.count + ranks_ - 1) / ranks_, kLineFloats);
  const int64_t begin = std::min(rank_ * slice, piece.count);
  const int64_t end = std::min(begin + slice, piece.count);
  auto* sums = reinterpret_cast<float*>(BeginRound());  // awaits the roots
  const auto pointers = piece.RootsIn(area);
  piece.Sum({pointers.data(), static_cast<size_t>(piece.share.total)}, begin, end, sums);
  Arrive();
  AwaitAll();
  CopyFloats(piece.out, sums, piece.count, piece.pool);
}

}  // namespace octet::comm
