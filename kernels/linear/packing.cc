#include "kernels/linear/packing.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/buffer.h"
#include "base/check.h"
#include "kernels/linear/cuda16_layout.h"
#include "kernels/linear/cuda8_layout.h"
#include "kernels/linear/segments.h"
#include "kernels/linear/stored_scale.h"

namespace octet::kernels {
namespace {

static_assert(std::endian::native == std::endian::little);

// Neighbouring outputs of one panel, kVectorOutputs at most: rows [row, row + count) go to lanes
// from `lane` on of a panel of `width`. So many share the cache lines that they are written to, and
// while these are written one line of each row is read.
struct PanelRows {
  int64_t row;
  int64_t count;
  int64_t lane;
  int64_t width;
  std::byte* panel;
};

// Several segments may share a group; each then writes the same scale.
void PackScales(const LinearShape& shape, const Segment& segment, const NeutralRows& rows,
                const PanelRows& to) {
  const int64_t bytes = shape.scale_format == ScaleFormat::kF32 ? 4 : 2;
  const int64_t groups = shape.group_count();
  std::byte* scales = to.panel + segment.scales_at * to.width + to.lane * bytes;
  for (int64_t i = 0; i < to.count; ++i, scales += bytes) {
    const int64_t from = (to.row + i) * groups + segment.group;
    StoreScale(shape.scale_format, rows.scales[from], scales);
    if (!shape.asymmetric) continue;
    StoreScale(shape.scale_format, rows.offsets[from], scales + to.width * bytes);
  }
}

// The codes of one chunk of each row, `inputs` of them in eight bytes. Returns all that were seen.
template <WeightFormat kFormat>
inline uint64_t PackChunk(const uint8_t* codes, int64_t row_codes, int64_t inputs,
                          const PanelRows& to, std::byte* chunk) {
  uint64_t seen = 0;
  for (int64_t i = 0; i < to.count; ++i, codes += row_codes) {
    uint64_t eight = 0;
    std::memcpy(&eight, codes, inputs);
    seen |= eight;
    std::byte* const at = chunk + (to.lane + i) * 4;
    if constexpr (kFormat == WeightFormat::kInt4) {
      const auto nibbles = static_cast<uint32_t>(eight | eight >> 28);
      std::memcpy(at, &nibbles, 4);
    } else {
      std::memcpy(at, &eight, 4);
      const auto high = static_cast<uint32_t>(eight >> 32);
      std::memcpy(at + to.width * 4, &high, 4);
    }
  }
  return seen;
}

template <WeightFormat kFormat>
void PackCodes(const LinearShape& shape, const Segment& segment, const NeutralRows& rows,
               const PanelRows& to) {
  const uint8_t* from = rows.codes.data() + to.row * shape.inputs + segment.begin;
  const int64_t chunk_bytes = to.width * (kFormat == WeightFormat::kInt4 ? 4 : 8);
  std::byte* chunk = to.panel + segment.codes_at * to.width;
  uint64_t seen = 0;
  int64_t done = 0;
  for (; done + kChunkInputs <= segment.inputs; done += kChunkInputs, chunk += chunk_bytes) {
    seen |= PackChunk<kFormat>(from + done, shape.inputs, kChunkInputs, to, chunk);
  }
  if (done < segment.inputs) {
    seen |= PackChunk<kFormat>(from + done, shape.inputs, segment.inputs - done, to, chunk);
  }
  if (kFormat == WeightFormat::kInt4) OCTET_CHECK_EQ(seen & 0xf0f0f0f0f0f0f0f0u, uint64_t{0});
}

template <typename Value>
void PackValues(const LinearShape& shape, const Segment& segment, const NeutralRows& rows,
                const PanelRows& to) {
  constexpr int64_t kBytes = sizeof(Value);
  const uint8_t* from = rows.values.data() + (to.row * shape.inputs + segment.begin) * kBytes;
  std::byte* values = to.panel + segment.codes_at * to.width + to.lane * kBytes;
  for (int64_t k = 0; k < segment.inputs; ++k, from += kBytes, values += to.width * kBytes) {
    for (int64_t i = 0; i < to.count; ++i) {
      std::memcpy(values + i * kBytes, from + i * shape.inputs * kBytes, kBytes);
    }
  }
}

void PackSegment(const LinearShape& shape, const Segment& segment, const NeutralRows& rows,
                 const PanelRows& to) {
  if (shape.format == WeightFormat::kF32) return PackValues<float>(shape, segment, rows, to);
  if (!IsQuantized(shape.format)) return PackValues<uint16_t>(shape, segment, rows, to);
  PackScales(shape, segment, rows, to);
  if (shape.format == WeightFormat::kInt4) {
    PackCodes<WeightFormat::kInt4>(shape, segment, rows, to);
  } else {
    PackCodes<WeightFormat::kInt8>(shape, segment, rows, to);
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

int64_t PanelLayout::bytes() const {
  if (panel_count == 0) return 0;
  const int64_t last = panel_count - 1;
  return begin_bytes(last) + panel_bytes(width(last));
}

void PackPanelRows(const LinearShape& shape, int64_t row_begin, const NeutralRows& rows,
                   std::byte* packed) {
  const PanelLayout layout = PanelLayout::Of(shape);
  std::vector<Segment> segments(CountSegments(shape).segments);
  BuildSegments(shape, segments.data());
  for (int64_t row = 0; row < rows.rows;) {
    const int64_t panel = (row_begin + row) / kPanelOutputs;
    const int64_t lane = (row_begin + row) % kPanelOutputs;
    const PanelRows to = {row, std::min(rows.rows - row, kVectorOutputs - lane % kVectorOutputs),
                          lane, layout.width(panel), packed + layout.begin_bytes(panel)};
    for (const Segment& segment : segments) PackSegment(shape, segment, rows, to);
    row += to.count;
  }
}

int64_t PackedLinearBytes(const LinearShape& shape) {
  switch (shape.layout) {
    case WeightLayout::kCpuPanels:
      return PanelLayout::Of(shape).bytes();
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
