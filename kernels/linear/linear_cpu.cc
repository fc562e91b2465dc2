// The CPU's side of a linear: activations are prepared once per call into the workspace, then
// panels of weights are dealt to the threads. A thread takes a panel through all rows of its item,
// eight at a time, while the panel stays in its cache.
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
constexpr int64_t kPrepareElements = 16384;  // activations worth handing to another thread

bool UsesInt8(const LinearShape& shape, ActivationFormat activation) {
  return IsQuantized(shape.format) && activation == ActivationFormat::kInt8;
}

struct Family {
  QuantizeFunction quantize;
  SumPanelFunction sum_panel;
};

Family ActiveFamily() {
#if defined(__x86_64__)
  return OfActiveIsa<Family>({QuantizePlain, SumPanelPlain}, {QuantizeAvx2, SumPanelAvx2},
                             {QuantizeAvx512, SumPanelAvx512});
#else
  return {QuantizePlain, SumPanelPlain};
#endif
}

// The parts of a call's workspace; with a null base, how large they are.
struct Workspace {
  SegmentCount count;
  int64_t inputs = 0;
  Segment* segments = nullptr;  // [count.segments]
  int8_t* codes = nullptr;      // [rows, padded_inputs] by blocks
  float* scales = nullptr;      // [rows, segments] by blocks
  int32_t* sums = nullptr;      // [rows, segments] by blocks
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
      take(codes, rows * count.padded_inputs);
      take(scales, rows * count.segments);
      take(sums, rows * count.segments);
    } else {
      take(values, rows * inputs);
    }
  }

  // The block of rows [begin, begin + rows).
  RowBlock Block(int64_t begin, int64_t rows) const {
    RowBlock block;
    block.rows = rows;
    if (codes != nullptr) {
      block.codes = codes + begin * count.padded_inputs;
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
  const int64_t blocks = (args.rows + kBlockRows - 1) / kBlockRows;
  // A part is a slice of one block's segments.
  const int64_t block_elements = std::min(args.rows, kBlockRows) * shape.inputs;
  const int64_t slices =
      std::clamp(block_elements / kPrepareElements, int64_t{1}, workspace.count.segments);
  const auto prepare = [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t row = part / slices * kBlockRows;
      const int64_t slice = part % slices;
      QuantizeArgs q;
      q.x = args.x + row * args.x_stride;
      q.x_stride = args.x_stride;
      q.segments = workspace.segments;
      q.begin = slice * workspace.count.segments / slices;
      q.end = (slice + 1) * workspace.count.segments / slices;
      q.code_offset = shape.asymmetric ? 0 : shape.format == WeightFormat::kInt4 ? -8 : -128;
      q.block = workspace.Block(row, std::min(kBlockRows, args.rows - row));
      if (int8) {
        family.quantize(q);
      } else {
        PlaceValues(q, args.activation != ActivationFormat::kF32);
      }
    }
  };
  pool.ParallelFor(blocks * slices, 1, prepare);
}

}  // namespace

namespace cpu {

int64_t LinearWorkspaceBytes(const LinearShape& shape, ActivationFormat activation, int64_t rows) {
  return Workspace(shape, activation, rows, nullptr).bytes;
}

void Linear(const LinearArgs& args, Stream& stream) {
  const LinearShape& shape = *args.shape;
  if (args.rows == 0 || shape.outputs == 0 || shape.inputs == 0) return;
  const Family family = ActiveFamily();
  const Workspace workspace(shape, args.activation, args.rows, args.workspace);
  BuildSegments(shape, workspace.segments);
  PrepareRows(args, workspace, family, stream.pool());

  const PanelLayout layout = PanelLayout::Of(shape);
  const int64_t roots = shape.root_count();
  const int64_t parts = (args.rows + kItemRows - 1) / kItemRows;  // items per panel
  const auto run = [&](int64_t begin, int64_t end) {
    alignas(64) float slots[kSlotsMax * kSlotFloats];
    for (int64_t item = begin; item < end; ++item) {
      const int64_t panel = item / parts;
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
      p.outputs = std::min(kPanelOutputs, shape.outputs - output);
      p.out_row_stride = shape.outputs;
      p.out_root_stride = args.rows * shape.outputs;
      p.roots = roots;
      p.bias = args.bias == nullptr ? nullptr : args.bias + output;
      const int64_t row_end = std::min(args.rows, (item % parts + 1) * kItemRows);
      for (int64_t row = item % parts * kItemRows; row < row_end; row += kBlockRows) {
        p.block = workspace.Block(row, std::min(kBlockRows, row_end - row));
        p.out = args.out + row * shape.outputs + output;
        family.sum_panel(p, slots);
      }
    }
  };
  stream.pool().ParallelFor(layout.panel_count * parts, 1, run);
}

}  // namespace cpu
}  // namespace octet::kernels
