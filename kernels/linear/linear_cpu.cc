// The CPU's side of a linear: activations are prepared once per call into the workspace, then
// panels of weights are dealt to the threads. A thread takes a panel through all rows of its item,
// eight at a time or, with int8 activations, up to 64, while the panel stays in its cache. The tile
// unit takes still more, laid out otherwise (panel.h), unless they are few.
//
// Workspace: segments | int8: codes, scales, sums; else values; each part aligned to 64 bytes.
#include <algorithm>

#include "base/buffer.h"
#include "base/check.h"
#include "base/dtype.h"
#include "kernels/isa.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/panel.h"

namespace octet::kernels {
namespace {

constexpr int64_t kItemRows = 128;           // rows that one work item takes through a panel
constexpr int64_t kTileItemBytes = 1 << 20;  // of rows, likewise: they stay in L2 between panels
constexpr int64_t kItemsPerThread = 8;       // where a thread takes several items at once
constexpr int64_t kTileUnitRowsMin = 5;      // fewer rows leave most of a tile empty
constexpr int64_t kPrepareElements = 8192;   // activations worth handing to another thread

bool UsesInt8(const LinearShape& shape, ActivationFormat activation) {
  return IsQuantized(shape.format) && activation == ActivationFormat::kInt8;
}

// How a call goes about it. A block is what `quantize` and `sum_panel` take at a time.
struct Family {
  QuantizeFunction quantize = QuantizePlain;
  SumPanelFunction sum_panel = SumPanelPlain;
  int64_t quantize_rows = kBlockRows;
  int64_t sum_rows = kBlockRows;
  int64_t slot_floats = kSlotFloats;
  void (*configure)() = nullptr;  // a thread calls it before its panels, the other behind them
  void (*release)() = nullptr;
};

Family FamilyFor(bool int8, int64_t rows) {
#if defined(__x86_64__)
  if (int8 && rows >= kTileUnitRowsMin && ActiveIsa() == Isa::kAmx) {
    return {QuantizeAmx,     SumPanelAmx,    kTileRows,   kTileBlockRows,
            kTileSlotFloats, ConfigureTiles, ReleaseTiles};
  }
  Family avx2 = {QuantizeAvx2, SumPanelAvx2};
  if (int8) {
    avx2.quantize_rows = kAvx2TileRows;
    avx2.sum_rows = kAvx2SumRows;
    avx2.slot_floats = kAvx2SumRows * kPanelOutputs;
  }
  Family avx512 = {QuantizeAvx512, SumPanelAvx512};
  if (int8) {
    avx512.sum_rows = kAvx512SumRows;
    avx512.slot_floats = kAvx512SumRows * kPanelOutputs;
  }
  return OfActiveIsa<Family>({}, avx2, avx512);
#else
  return {};
#endif
}

// The parts of a call's workspace; with a null base, how large they are: enough for any family, so
// that the plan of a model's memory does not depend on the machine it is made on.
struct Workspace {
  SegmentCount count;
  int64_t inputs = 0;
  bool in_tiles = false;
  Segment* segments = nullptr;  // [count.segments]
  int8_t* codes = nullptr;      // int8: by blocks
  float* scales = nullptr;      // int8: by blocks
  int32_t* sums = nullptr;      // int8: by blocks
  float* values = nullptr;      // [rows, inputs] by blocks
  int64_t bytes = 0;

  Workspace(const LinearShape& shape, ActivationFormat activation, int64_t rows, std::byte* base)
      : count(CountSegments(shape)), inputs(shape.inputs) {
    const auto take = [&](auto*& part, int64_t elements) {
      using T = std::remove_reference_t<decltype(*part)>;
      part = base == nullptr ? nullptr : reinterpret_cast<T*>(base + bytes);
      bytes += AlignUp(elements * static_cast<int64_t>(sizeof(T)));
    };
    take(segments, count.segments);
    if (UsesInt8(shape, activation)) {
      const int64_t tile_rows = AlignUp(rows, kTileRows);
      take(codes, std::max(rows * count.padded_inputs, tile_rows * count.tiles * kTileInputs));
      take(scales, tile_rows * count.segments);
      take(sums, tile_rows * count.segments);
    } else {
      take(values, rows * inputs);
    }
  }

  // The block of rows [begin, begin + rows), which begins a block of the family's.
  RowBlock Block(int64_t begin, int64_t rows) const {
    RowBlock block;
    block.rows = rows;
    if (codes != nullptr) {
      block.codes = codes + begin * (in_tiles ? count.tiles * kTileInputs : count.padded_inputs);
      block.scales = scales + begin * count.segments;
      block.sums = sums + begin * count.segments;
    } else {
      block.values = values + begin * inputs;
    }
    return block;
  }
};

// Lays segments [begin, end) of a block out for the float modes.
void PlaceValues(const QuantizeArgs& part, bool round_to_bf16) {
  const int64_t first = part.segments[part.begin].begin;
  const int64_t last = part.segments[part.end - 1].begin + part.segments[part.end - 1].inputs;
  const int64_t rows = part.block.rows;
  for (int64_t row = 0; row < rows; ++row) {
    const float* x = part.x + row * part.x_stride;
    for (int64_t k = first; k < last; ++k) {
      part.block.values[k * rows + row] = round_to_bf16 ? BF16ToFloat(FloatToBF16(x[k])) : x[k];
    }
  }
}

void PrepareRows(const LinearArgs& args, const Workspace& workspace, const Family& family,
                 ThreadPool& pool) {
  const LinearShape& shape = *args.shape;
  const bool int8 = UsesInt8(shape, args.activation);
  const int64_t block_rows = family.quantize_rows;
  const int64_t blocks = (args.rows + block_rows - 1) / block_rows;
  // A part is a slice of one block's segments.
  const int64_t block_elements = std::min(args.rows, block_rows) * shape.inputs;
  const int64_t slices =
      std::clamp(block_elements / kPrepareElements, int64_t{1}, workspace.count.segments);
  const auto prepare = [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t row = part / slices * block_rows;
      const int64_t slice = part % slices;
      QuantizeArgs q;
      q.x = args.x + row * args.x_stride;
      q.x_stride = args.x_stride;
      q.segments = workspace.segments;
      q.begin = slice * workspace.count.segments / slices;
      q.end = (slice + 1) * workspace.count.segments / slices;
      q.code_offset = shape.asymmetric ? 0 : shape.format == WeightFormat::kInt4 ? -8 : -128;
      q.block = workspace.Block(row, std::min(block_rows, args.rows - row));
      if (int8) {
        family.quantize(q);
      } else {
        PlaceValues(q, args.activation != ActivationFormat::kF32);
      }
    }
  };
  pool.ParallelFor(blocks * slices, 1, prepare);
}

// Panels that a thread takes at a time, which it then reads side by side: two streams of memory
// give more than one where a core waits for it (README.md; AMD's with AVX-512 were not measured).
int64_t PanelsAtOnce(bool int8, int64_t rows) {
  int64_t rows_max = 0;
  if (ActiveIsa() >= Isa::kAvx512Vnni && IsIntel()) rows_max = kPairRowsMax;
  if (ActiveIsa() == Isa::kAvx2) rows_max = kAvx2PairRowsMax;
  return int8 && rows <= rows_max ? 2 : 1;
}

// Of the next linear each thread will take the panels from its own first one on (ParallelFor).
// Where there are more rows, reading is not what they wait for.
ExpectedRead ReadOf(const PackedLinear& linear, int64_t rows, ActivationFormat activation) {
  if (linear.shape == nullptr || rows >= kTileUnitRowsMin) return {};
  const PanelLayout layout = PanelLayout::Of(*linear.shape);
  const int64_t at_once = PanelsAtOnce(UsesInt8(*linear.shape, activation), rows);
  return {.data = linear.weights,
          .bytes = layout.bytes(),
          .items = (layout.panel_count + at_once - 1) / at_once,
          .item_bytes = at_once * layout.panel_bytes(kPanelOutputs)};
}

}  // namespace

namespace cpu {

int64_t LinearWorkspaceBytes(const LinearShape& shape, ActivationFormat activation, int64_t rows) {
  return Workspace(shape, activation, rows, nullptr).bytes;
}

void Linear(const LinearArgs& args, Stream& stream) {
  const LinearShape& shape = *args.shape;
  if (args.rows == 0 || shape.outputs == 0 || shape.inputs == 0) return;
  const Family family = FamilyFor(UsesInt8(shape, args.activation), args.rows);
  Workspace workspace(shape, args.activation, args.rows, args.workspace);
  workspace.in_tiles = family.quantize_rows == kTileRows;
  BuildSegments(shape, workspace.segments);
  PrepareRows(args, workspace, family, stream.pool());

  const PanelLayout layout = PanelLayout::Of(shape);
  const int64_t roots = shape.root_count();
  // The tile unit is so fast that its rows, not the panel, must stay near it from item to item.
  const bool in_parts = workspace.in_tiles;
  const int64_t item_rows =
      in_parts ? std::max(kItemRows, kTileItemBytes / shape.inputs / kItemRows * kItemRows)
               : kItemRows;
  const int64_t parts = (args.rows + item_rows - 1) / item_rows;  // items per panel
  const bool staged_prefetch = IsIntel();
  const int64_t at_once = PanelsAtOnce(UsesInt8(shape, args.activation), args.rows);
  const auto run = [&](int64_t begin, int64_t end) {
    alignas(64) float slots[kSlotsMax * kTileSlotFloats];
    if (family.configure != nullptr) family.configure();
    for (int64_t item = begin; item < end;) {
      const int64_t panel = in_parts ? item % layout.panel_count : item / parts;
      const int64_t part = in_parts ? item / layout.panel_count : item % parts;
      const int64_t output = panel * kPanelOutputs;
      PanelArgs p;
      p.format = shape.format;
      p.asymmetric = shape.asymmetric;
      p.scale_format = shape.scale_format;
      p.int8_activations = UsesInt8(shape, args.activation);
      p.width = layout.width(panel);
      p.panel = args.weights + layout.begin_bytes(panel);
      p.segments = workspace.segments;
      p.segment_count = workspace.count.segments;
      const bool pair = at_once == 2 && item + 1 < end && layout.width(panel + 1) == kPanelOutputs;
      if (pair) p.pair_bytes = layout.panel_bytes(kPanelOutputs);
      const int64_t panels = pair ? 2 : 1;
      item += panels;
      p.outputs = std::min(panels * kPanelOutputs, shape.outputs - output);
      p.out_row_stride = shape.outputs;
      p.out_root_stride = args.rows * shape.outputs;
      p.roots = roots;
      p.bias = args.bias == nullptr ? nullptr : args.bias + output;
      p.slot_floats = family.slot_floats;
      p.staged_prefetch = staged_prefetch;
      const int64_t row_end = std::min(args.rows, (part + 1) * item_rows);
      for (int64_t row = part * item_rows; row < row_end; row += family.sum_rows) {
        p.block = workspace.Block(row, std::min(family.sum_rows, row_end - row));
        p.out = args.out + row * shape.outputs + output;
        family.sum_panel(p, slots);
      }
    }
    if (family.release != nullptr) family.release();
  };
  const int64_t items = layout.panel_count * parts;
  const int64_t grain = in_parts ? items / (stream.pool().threads() * kItemsPerThread) : at_once;
  stream.pool().Expect(ReadOf(args.next, args.rows, args.activation));
  stream.pool().ParallelFor(items, std::max<int64_t>(grain, 1), run);
}

}  // namespace cpu
}  // namespace octet::kernels
