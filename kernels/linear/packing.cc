#include "kernels/linear/packing.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/buffer.h"
#include "base/check.h"
#include "base/dtype.h"
#include "kernels/linear/segments.h"

namespace octet::kernels {
namespace {

int64_t ValueBytes(WeightFormat format) { return format == WeightFormat::kF32 ? 4 : 2; }

int64_t ScaleBytes(const LinearShape& shape) {
  return shape.scale_format == ScaleFormat::kF32 ? 4 : 2;
}

void StoreScale(ScaleFormat format, float value, std::byte* to) {
  if (format == ScaleFormat::kF32) {
    std::memcpy(to, &value, sizeof value);
    return;
  }
  const uint16_t bits = FloatToF16(value);
  // Only exact narrowing is allowed: another number here would be another model.
  OCTET_CHECK_EQ(std::bit_cast<uint32_t>(F16ToFloat(bits)), std::bit_cast<uint32_t>(value));
  std::memcpy(to, &bits, sizeof bits);
}

// Writes one output's codes of one chunk, kChunkInputs of them. `chunks` is the panel's codes.
void StoreChunk(WeightFormat format, int64_t width, int64_t lane, int64_t chunk,
                const uint8_t* codes, std::byte* chunks) {
  if (format == WeightFormat::kInt8) {
    std::memcpy(chunks + ((chunk * 2 + 0) * width + lane) * 4, codes, 4);
    std::memcpy(chunks + ((chunk * 2 + 1) * width + lane) * 4, codes + 4, 4);
    return;
  }
  uint8_t bytes[4];
  for (int j = 0; j < 4; ++j) {
    OCTET_CHECK_LT(static_cast<int>(codes[j] | codes[4 + j]), 16);
    bytes[j] = static_cast<uint8_t>(codes[j] | codes[4 + j] << 4);
  }
  std::memcpy(chunks + (chunk * width + lane) * 4, bytes, 4);
}

void PackQuantizedRow(const LinearShape& shape, const std::vector<Segment>& segments,
                      const NeutralRows& rows, int64_t row, int64_t width, int64_t lane,
                      std::byte* scales, std::byte* codes) {
  for (const Segment& segment : segments) {
    const uint8_t* from = rows.codes.data() + row * shape.inputs + segment.begin;
    for (int64_t done = 0; done < segment.inputs; done += kChunkInputs) {
      uint8_t chunk_codes[kChunkInputs] = {};
      std::memcpy(chunk_codes, from + done, std::min(kChunkInputs, segment.inputs - done));
      const int64_t chunk = (segment.padded_begin + done) / kChunkInputs;
      StoreChunk(shape.format, width, lane, chunk, chunk_codes, codes);
    }
  }
  const int64_t groups = shape.group_count();
  const int64_t bytes = ScaleBytes(shape);
  const int64_t parts = shape.asymmetric ? 2 : 1;  // scales, then offsets
  for (int64_t group = 0; group < groups; ++group) {
    std::byte* to = scales + (group * parts * width + lane) * bytes;
    StoreScale(shape.scale_format, rows.scales[row * groups + group], to);
    if (!shape.asymmetric) continue;
    StoreScale(shape.scale_format, rows.offsets[row * groups + group], to + width * bytes);
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
  if (!IsQuantized(shape.format)) {
    layout.code_bytes_per_output = shape.inputs * ValueBytes(shape.format);
    return layout;
  }
  const int64_t padded_inputs = CountSegments(shape).padded_inputs;
  layout.code_bytes_per_output =
      shape.format == WeightFormat::kInt4 ? padded_inputs / 2 : padded_inputs;
  layout.scale_bytes_per_output =
      shape.group_count() * ScaleBytes(shape) * (shape.asymmetric ? 2 : 1);
  return layout;
}

int64_t PanelLayout::width(int64_t panel) const {
  return std::min(kPanelOutputs, AlignUp(outputs - panel * kPanelOutputs, kVectorOutputs));
}

int64_t PanelLayout::codes_at(int64_t width) const {
  return AlignUp(width * scale_bytes_per_output);
}

int64_t PanelLayout::panel_bytes(int64_t width) const {
  return codes_at(width) + AlignUp(width * code_bytes_per_output);
}

int64_t PackedLinearBytes(const LinearShape& shape) {
  const PanelLayout layout = PanelLayout::Of(shape);
  if (layout.panel_count == 0) return 0;
  const int64_t last = layout.panel_count - 1;
  return layout.begin_bytes(last) + layout.panel_bytes(layout.width(last));
}

void PackLinearRows(const LinearShape& shape, int64_t row_begin, const NeutralRows& rows,
                    std::byte* packed) {
  CheckRows(shape, row_begin, rows);
  const PanelLayout layout = PanelLayout::Of(shape);
  std::vector<Segment> segments(CountSegments(shape).segments);
  BuildSegments(shape, segments.data());
  for (int64_t row = 0; row < rows.rows; ++row) {
    const int64_t panel_index = (row_begin + row) / kPanelOutputs;
    const int64_t lane = (row_begin + row) % kPanelOutputs;
    const int64_t width = layout.width(panel_index);
    std::byte* panel = packed + layout.begin_bytes(panel_index);
    if (IsQuantized(shape.format)) {
      PackQuantizedRow(shape, segments, rows, row, width, lane, panel,
                       panel + layout.codes_at(width));
      continue;
    }
    const int64_t bytes = ValueBytes(shape.format);
    for (int64_t k = 0; k < shape.inputs; ++k) {
      std::memcpy(panel + (k * width + lane) * bytes,
                  rows.values.data() + (row * shape.inputs + k) * bytes, bytes);
    }
  }
}

}  // namespace octet::kernels
