// Matrix products of a warpgroup. A product is computed from what the operands hold when it is
// issued; the accumulators get it at the wait and are full of a mark until then, shared operands
// may not be written, and registers of A must be the same at both ends.
#include <cstring>

#include "tests/support/emulator/elements.h"
#include "tests/support/emulator/scheduler.h"

namespace octet::emulator {
namespace {

constexpr int kRows = 64;
constexpr int kGroupThreads = 128;
constexpr int kDepthBytes = 32;          // of K in one instruction
constexpr uint32_t kMark = 0xFFC0DEADu;  // a NaN

struct Tile {
  uint32_t start, leading_bytes, stride_bytes;
  uint64_t swizzle;
};

Tile Decode(uint64_t desc, const Place& place) {
  Tile tile{static_cast<uint32_t>(desc & 0x3FFFu) << 4,
            static_cast<uint32_t>(desc >> 16 & 0x3FFFu) << 4,
            static_cast<uint32_t>(desc >> 32 & 0x3FFFu) << 4, desc >> 62};
  if (tile.swizzle > 1)
    Fail("wgmma: only tiles without swizzle and with that of 128 bytes are emulated", place);
  if (tile.swizzle == 1 && (tile.start & 0x380u) != 0)
    Fail("wgmma: a swizzled tile must start at a multiple of 1024 (plus a step along K)", place);
  return tile;
}

// The offset of the 16-byte chunk `chunk` (0, 1) of row `row`.
uint32_t ChunkOf(const Tile& tile, int row, int chunk) {
  const auto r = static_cast<uint32_t>(row), c = static_cast<uint32_t>(chunk);
  if (tile.swizzle == 0)
    return tile.start + r / 8 * tile.stride_bytes + c * tile.leading_bytes + r % 8 * 16;
  const uint32_t plain = tile.start + r / 8 * tile.stride_bytes + r % 8 * 128 + c * 16;
  return plain ^ (plain >> 7 & 7u) << 4;
}

// What all four warps know.
Clock CommonClock(const Block& block, int warpgroup) {
  Clock common;
  for (int warp = 0; warp < 4; ++warp) {
    const Clock& clock = block.threads[kGroupThreads * warpgroup + kWarpLanes * warp].clock;
    Clock own = clock;
    for (Time& time : own.known) time = std::max(time, own.floor);
    if (warp == 0) common = own;
    common.floor = std::min(common.floor, own.floor);
    for (size_t i = 0; i < own.known.size(); ++i)
      common.known[i] = std::min(common.known[i], own.known[i]);
  }
  return common;
}

struct Issue {
  Block& block;
  int warpgroup;
  const Place& place;
  Clock clock;
  WgmmaInFlight& product;
};

// Rows of 32 bytes from a tile in shared memory, [rows, 32].
std::vector<std::byte> ReadTile(Issue& issue, uint64_t desc, int rows) {
  const Tile tile = Decode(desc, issue.place);
  std::vector<std::byte> bytes(static_cast<size_t>(rows) * kDepthBytes);
  Arena& arena = *issue.block.arena;
  const Access access{issue.block.matrix_actor(issue.warpgroup), AccessKind::kRead,
                      IdOf(issue.place), false};
  for (int row = 0; row < rows; ++row) {
    for (int chunk = 0; chunk < 2; ++chunk) {
      const uint32_t offset = ChunkOf(tile, row, chunk);
      CheckShared(arena.data + offset, 16, 16, "wgmma", issue.place);
      const std::string problem = arena.words.HoldForReaders(
          offset, 16, access, issue.clock, issue.block.proxy_fences, current_scheduler->now());
      if (!problem.empty()) Fail("wgmma: " + problem, issue.place);
      issue.product.runs.push_back(offset);
      std::memcpy(&bytes[static_cast<size_t>(row) * kDepthBytes + 16 * chunk], arena.data + offset,
                  16);
    }
  }
  return bytes;
}

// A in registers, as rows of 32 bytes: warp w has rows 16w..16w+15.
std::vector<std::byte> ReadRegisters(const WgmmaInFlight& product) {
  std::vector<std::byte> bytes(kRows * kDepthBytes);
  for (int thread = 0; thread < kGroupThreads; ++thread) {
    const int g = thread % kWarpLanes / 4, t = thread % 4;
    for (int i = 0; i < 4; ++i) {
      const int row = 16 * (thread / kWarpLanes) + g + 8 * (i % 2);
      std::memcpy(&bytes[static_cast<size_t>(row) * kDepthBytes + 4 * t + 16 * (i / 2)],
                  &product.a_registers[static_cast<size_t>(4 * thread + i)], 4);
    }
  }
  return bytes;
}

// The row and the first column of register `i` of a thread.
struct Position {
  int row, column;
};
Position PositionOf(int thread, int i) {
  const int lane = thread % kWarpLanes;
  return {16 * (thread / kWarpLanes) + lane / 4 + 8 * (i / 2 % 2),
          8 * (i / 4) + 2 * (lane % 4) + i % 2};
}

template <typename Sum>
std::vector<Sum>& SumsOf(WgmmaInFlight& product) {
  if constexpr (std::is_same_v<Sum, float>) {
    return product.sums;
  } else {
    return product.integer_sums;
  }
}

template <typename Sum, Element kType>
std::vector<Sum> UnpackAs(const std::vector<std::byte>& bytes) {
  std::vector<Sum> values;
  values.reserve(bytes.size() / 4 * ElementsPerWord(kType));
  for (size_t i = 0; i < bytes.size(); i += 4) {
    uint32_t word = 0;
    std::memcpy(&word, &bytes[i], sizeof(word));
    for (int e = 0; e < ElementsPerWord(kType); ++e)
      values.push_back(ElementOf<Sum, kType>(word, e));
  }
  return values;
}

template <typename Sum>
std::vector<Sum> Unpack(const std::vector<std::byte>& bytes, Element type) {
  if (type == Element::kBF16) return UnpackAs<Sum, Element::kBF16>(bytes);
  if (type == Element::kS8) return UnpackAs<Sum, Element::kS8>(bytes);
  return UnpackAs<Sum, Element::kU8>(bytes);
}

// The product that is in flight with the same accumulators, or null.
WgmmaInFlight* Before(Warpgroup& group, const void* d) {
  WgmmaInFlight* found = nullptr;
  for (auto& products : group.groups) {
    for (WgmmaInFlight& product : products)
      if (product.threads[0].d == d) found = &product;
  }
  for (WgmmaInFlight& product : group.open)
    if (product.threads[0].d == d) found = &product;
  return found;
}

template <typename Sum>
void Compute(Issue& issue, Warpgroup& group, const std::vector<std::byte>& a_bytes,
             const std::vector<std::byte>& b_bytes) {
  WgmmaInFlight& product = issue.product;
  const Wgmma& shape = product.threads[0];
  const int columns = shape.columns, registers = columns / 2;
  std::vector<Sum>& sums = SumsOf<Sum>(product);
  WgmmaInFlight* before = Before(group, shape.d);
  sums.assign(static_cast<size_t>(kRows * columns), Sum{0});
  if (shape.accumulate && before != nullptr) sums = SumsOf<Sum>(*before);
  for (int thread = 0; thread < kGroupThreads; ++thread) {
    auto* d = static_cast<Sum*>(product.threads[thread].d);
    for (int i = 0; i < registers; ++i) {
      const auto [row, column] = PositionOf(thread, i);
      if (shape.accumulate && before == nullptr) sums[row * columns + column] = d[i];
      std::memcpy(&d[i], &kMark, sizeof(kMark));
    }
  }
  const std::vector<Sum> a = Unpack<Sum>(a_bytes, shape.a_type);
  const std::vector<Sum> b = Unpack<Sum>(b_bytes, shape.b_type);
  const int depth = static_cast<int>(a.size()) / kRows;
  std::vector<Sum> b_columns(b.size());  // [depth, columns]: the inner loop is over columns
  for (int column = 0; column < columns; ++column) {
    for (int k = 0; k < depth; ++k) b_columns[k * columns + column] = b[column * depth + k];
  }
  for (int row = 0; row < kRows; ++row) {
    Sum* sum = &sums[row * columns];
    for (int k = 0; k < depth; ++k) {
      for (int column = 0; column < columns; ++column)
        sum[column] = AddProduct(sum[column], a[row * depth + k], b_columns[k * columns + column]);
    }
  }
}

void ComputeIssue(Block& block, int warpgroup, const Place& place) {
  Warpgroup& group = block.warpgroups[warpgroup];
  if (!group.fenced) Fail("wgmma: no wgmma_fence since the last wait", place);
  WgmmaInFlight product;
  product.place = IdOf(place);
  for (int i = 0; i < kGroupThreads; ++i)
    product.threads[i] = *static_cast<const Wgmma*>(group.arguments[i]);
  const Wgmma& first = product.threads[0];
  for (const Wgmma& other : product.threads) {
    if (other.a_desc != first.a_desc || other.b_desc != first.b_desc ||
        other.accumulate != first.accumulate || (other.a == nullptr) != (first.a == nullptr))
      Fail("wgmma: descriptors or accumulate differ between the threads of the warpgroup", place);
  }
  Issue issue{block, warpgroup, place, CommonClock(block, warpgroup), product};
  std::vector<std::byte> a_bytes;
  if (first.a != nullptr) {
    for (const Wgmma& thread : product.threads)
      product.a_registers.insert(product.a_registers.end(), thread.a, thread.a + 4);
    a_bytes = ReadRegisters(product);
  } else {
    a_bytes = ReadTile(issue, first.a_desc, kRows);
  }
  const std::vector<std::byte> b_bytes = ReadTile(issue, first.b_desc, first.columns);
  if (first.a_type == Element::kBF16) {
    Compute<float>(issue, group, a_bytes, b_bytes);
  } else {
    Compute<int32_t>(issue, group, a_bytes, b_bytes);
  }
  group.open.push_back(std::move(product));
}

template <typename Sum>
void Store(WgmmaInFlight& product, const Place& place) {
  const int columns = product.threads[0].columns;
  const std::vector<Sum>& sums = SumsOf<Sum>(product);
  for (int thread = 0; thread < kGroupThreads; ++thread) {
    auto* d = static_cast<Sum*>(product.threads[thread].d);
    for (int i = 0; i < columns / 2; ++i) {
      if (std::memcmp(&d[i], &kMark, sizeof(kMark)) != 0)
        Fail("wgmma: accumulators of the product issued at " + Describe(product.place) +
                 " were touched before the wait",
             place);
      const auto [row, column] = PositionOf(thread, i);
      d[i] = sums[row * columns + column];
    }
  }
}

void Finish(Block& block, int warpgroup, std::vector<WgmmaInFlight>& products, const Place& place) {
  Warpgroup& group = block.warpgroups[warpgroup];
  for (size_t p = 0; p < products.size(); ++p) {
    WgmmaInFlight& product = products[p];
    for (size_t i = 0; i < product.a_registers.size(); ++i) {
      if (product.threads[i / 4].a[i % 4] != product.a_registers[i])
        Fail("wgmma: registers of A of the product issued at " + Describe(product.place) +
                 " were changed before the wait",
             place);
    }
    const Access access{block.matrix_actor(warpgroup), AccessKind::kRead, product.place, false};
    for (const uint32_t run : product.runs)
      block.arena->words.ReleaseReaders(run, 16, access, current_scheduler->now());
    bool continued = Before(group, product.threads[0].d) != nullptr;
    for (size_t later = p + 1; later < products.size(); ++later)
      continued = continued || products[later].threads[0].d == product.threads[0].d;
    if (continued) continue;
    if (product.sums.empty()) {
      Store<int32_t>(product, place);
    } else {
      Store<float>(product, place);
    }
  }
}

struct WaitArguments {
  int newest;
};

void ComputeWait(Block& block, int warpgroup, const Place& place) {
  Warpgroup& group = block.warpgroups[warpgroup];
  const int newest = static_cast<const WaitArguments*>(group.arguments[0])->newest;
  bool finished = false;
  while (static_cast<int>(group.groups.size()) > newest) {
    std::vector<WgmmaInFlight> products = std::move(group.groups.front());
    group.groups.pop_front();
    Finish(block, warpgroup, products, place);
    finished = true;
  }
  if (finished) group.fenced = false;
  const Time now = current_scheduler->NextTime() - 1;
  for (int i = 0; i < kGroupThreads; ++i)
    block.threads[kGroupThreads * warpgroup + i].clock.known[block.matrix_actor(warpgroup)] = now;
}

}  // namespace

void IssueWgmma(const Wgmma& wgmma, const Place& place) {
  Wgmma arguments = wgmma;
  MeetWarpgroup("wgmma", &arguments, ComputeIssue, place);
}

void WaitWgmma(int newest, const Place& place) {
  WaitArguments arguments{newest};
  MeetWarpgroup("wgmma_wait", &arguments, ComputeWait, place);
}

}  // namespace octet::emulator

namespace octet::hw {

using namespace octet::emulator;  // NOLINT: the two halves of one thing

void wgmma_fence(Place place) {
  MeetWarpgroup(
      "wgmma_fence", nullptr,
      [](Block& block, int warpgroup, const Place&) { block.warpgroups[warpgroup].fenced = true; },
      place);
}

void wgmma_commit(Place place) {
  MeetWarpgroup(
      "wgmma_commit", nullptr,
      [](Block& block, int warpgroup, const Place&) {
        Warpgroup& group = block.warpgroups[warpgroup];
        group.groups.push_back(std::move(group.open));
        group.open.clear();
      },
      place);
}

}  // namespace octet::hw
