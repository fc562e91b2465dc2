#include "kernels/linear/packing.h"

#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/check.h"
#include "kernels/linear/cuda16_layout.h"
#include "kernels/linear/cuda8_layout.h"
#include "kernels/linear/segments.h"
#include "kernels/linear/stored_scale.h"

namespace octet::kernels {
namespace {

// Writes one output's codes of one chunk, kChunkInputs of them, into the chunk at `to`.
void StoreChunk(WeightFormat format, int64_t width, int64_t lane, const uint8_t* codes,
                std::byte* to) {
  if (format == WeightFormat::kInt8) {
    std::memcpy(to + lane * 4, codes, 4);
    std::memcpy(to + (width + lane) * 4, codes + 4, 4);
    return;
  }
  uint8_t bytes[4];
  for (int j = 0; j < 4; ++j) {
    OCTET_CHECK_LT(static_cast<int>(codes[j] | codes[4 + j]), 16);
    bytes[j] = static_cast<uint8_t>(codes[j] | codes[4 + j] << 4);
  }
  std::memcpy(to + lane * 4, bytes, 4);
}

// One output of a panel: output `row` of `rows` goes to `lane` of a panel of `width`.
struct PanelRow {
  int64_t row;
  int64_t lane;
  int64_t width;
  std::byte* panel;
};

// Several segments may share a group; each then writes the same scale.
void PackScale(const LinearShape& shape, const Segment& segment, const NeutralRows& rows,
               const PanelRow& to) {
  const int64_t bytes = shape.scale_format == ScaleFormat::kF32 ? 4 : 2;
  const int64_t from = to.row * shape.group_count() + segment.group;
  std::byte* scales = to.panel + segment.scales_at * to.width;
  StoreScale(shape.scale_format, rows.scales[from], scales + to.lane * bytes);
  if (!shape.asymmetric) return;
  StoreScale(shape.scale_format, rows.offsets[from], scales + (to.width + to.lane) * bytes);
}

void PackCodes(const LinearShape& shape, const Segment& segment, const NeutralRows& rows,
               const PanelRow& to) {
  const uint8_t* from = rows.codes.data() + to.row * shape.inputs + segment.begin;
  const int64_t chunk_bytes = to.width * (shape.format == WeightFormat::kInt4 ? 4 : 8);
  std::byte* chunk = to.panel + segment.codes_at * to.width;
  for (int64_t done = 0; done < segment.inputs; done += kChunkInputs, chunk += chunk_bytes) {
    uint8_t codes[kChunkInputs] = {};
    std::memcpy(codes, from + done, std::min(kChunkInputs, segment.inputs - done));
    StoreChunk(shape.format, to.width, to.lane, codes, chunk);
  }
}

void PackValues(const LinearShape& shape, const Segment& segment, const NeutralRows& rows,
                const PanelRow& to) {
  const int64_t bytes = ValueBytes(shape.format);
  const uint8_t* from = rows.values.data() + (to.row * shape.inputs + segment.begin) * bytes;
  std::byte* value = to.panel + segment.codes_at * to.width + to.lane * bytes;
  for (int64_t k = 0; k < segment.inputs; ++k, from += bytes, value += to.width * bytes) {
    std::memcpy(value, from, bytes);
  }
}

void CheckRows(const LinearShape& shape, int64_t row_begin, const NeutralRows& rows) {
  const auto size = [](const auto& v) { return static_cast<int64_t>(v.size()); };
  OCTET_CHECK_GE(row_begin, 0);
  OCTET_CHECK_LE(row_begin + rows.rows, shape.outputs);
  if (!IsQuantized(shape.format)) {
    OCTET_CHECK_EQ(size(rows.values), rows.rows * shape.inputs * ValueBytes(shape.format));
    return;
  }
  const int64_t scales = rows.rows * shape.group_count();
  OCTET_CHECK_EQ(size(rows.codes), rows.rows * shape.inputs);
  OCTET_CHECK_EQ(size(rows.scales), scales);
  OCTET_CHECK_EQ(size(rows.offsets), shape.asymmetric ? scales : 0);
}

}  // namespace

PanelLayout PanelLayout::Of(const LinearShape& shape) {
  PanelLayout layout;
  layout.outputs = shape.outputs;
  layout.panel_count = (shape.outputs + kPanelOutputs - 1) / kPanelOutputs;
  layout.bytes_per_output = CountSegments(shape).bytes_per_output;
  return layout;
}

int64_t PanelLayout::width(int64_t panel) const {
  return std::min(kPanelOutputs, AlignUp(outputs - panel * kPanelOutputs, kVectorOutputs));
}

int64_t PanelLayout::panel_bytes(int64_t width) const { return AlignUp(width * bytes_per_output); }

int64_t PanelBytes(const LinearShape& shape) {
  const PanelLayout layout = PanelLayout::Of(shape);
  if (layout.panel_count == 0) return 0;
  const int64_t last = layout.panel_count - 1;
  return layout.begin_bytes(last) + layout.panel_bytes(layout.width(last));
}

void PackPanelRows(const LinearShape& shape, int64_t row_begin, const NeutralRows& rows,
                   std::byte* packed) {
  const PanelLayout layout = PanelLayout::Of(shape);
  std::vector<Segment> segments(CountSegments(shape).segments);
  BuildSegments(shape, segments.data());
  for (int64_t row = 0; row < rows.rows; ++row) {
    const int64_t panel = (row_begin + row) / kPanelOutputs;
    const PanelRow to = {row, (row_begin + row) % kPanelOutputs, layout.width(panel),
                         packed + layout.begin_bytes(panel)};
    for (const Segment& segment : segments) {
      if (IsQuantized(shape.format)) {
        PackScale(shape, segment, rows, to);
        PackCodes(shape, segment, rows, to);
      } else {
        PackValues(shape, segment, rows, to);
      }
    }
  }
}

int64_t PackedLinearBytes(const LinearShape& shape) {
  switch (shape.layout) {
    case WeightLayout::kCpuPanels:
      return PanelBytes(shape);
    case WeightLayout::kCuda16:
      return Cuda16Bytes(shape);
    case WeightLayout::kCuda8:
      return Cuda8Bytes(shape);
  }
  OCTET_CHECK_EQ(static_cast<int>(shape.layout), -1);
  return 0;
}

void PackLinearRows(const LinearShape& shape, int64_t row_begin, const NeutralRows& rows,
                    std::byte* packed) {
  CheckRows(shape, row_begin, rows);
  switch (shape.layout) {
    case WeightLayout::kCpuPanels:
      return PackPanelRows(shape, row_begin, rows, packed);
    case WeightLayout::kCuda16:
      return PackCuda16Rows(shape, row_begin, rows, packed);
    case WeightLayout::kCuda8:
      return PackCuda8Rows(shape, row_begin, rows, packed);
  }
  OCTET_CHECK_EQ(static_cast<int>(shape.layout), -1);
}

}  // namespace octet::kernels
