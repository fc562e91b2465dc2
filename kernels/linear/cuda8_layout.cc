#include "kernels/linear/cuda8_layout.h"

#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/check.h"
#include "kernels/linear/k_walk.h"
#include "kernels/linear/stored_scale.h"

namespace octet::kernels {
namespace {

// The same byte in all eight.
constexpr uint64_t Bytes(uint64_t byte) { return byte * 0x0101010101010101u; }

// One output's codes of one step, padded with what stands for 0, to their places; `tile` are the
// step's codes of the output's tile.
void StoreStep(const LinearShape& shape, const uint8_t* codes, int64_t inputs, int64_t output,
               std::byte* tile) {
  const bool int4 = shape.format == WeightFormat::kInt4;
  const uint8_t zero = shape.asymmetric ? 0 : int4 ? 0x8 : 0x80;
  uint64_t step[kStepPositions / 8] = {Bytes(zero), Bytes(zero), Bytes(zero), Bytes(zero)};
  if (inputs == kStepPositions)
    std::memcpy(step, codes, kStepPositions);  // a length known ahead: no detour through memory
  else
    std::memcpy(step, codes, inputs);
  for (uint64_t& eight : step) eight ^= Bytes(zero);
  std::byte* to = tile + output % 8 * 4 * (int4 ? 8 : 16) + output / 8 * 4;
  const auto store = [&](const uint64_t* words, int64_t stride) {  // a word to each lane
    for (int64_t t = 0; t < 4; ++t) {
      std::memcpy(to + t * stride, reinterpret_cast<const std::byte*>(words) + 4 * t, 4);
    }
  };
  if (!int4) {
    store(step, 16);
    to += 8;
    return store(step + 2, 16);
  }
  OCTET_CHECK_EQ((step[0] | step[1] | step[2] | step[3]) & Bytes(0xf0), 0u);
  const uint64_t nibbles[] = {step[0] | step[2] << 4, step[1] | step[3] << 4};
  store(nibbles, 8);
}

// Places rows [row, row + count), which are outputs from `output` on of the panel. Step by step, so
// that memory is written from front to back.
void PackRun(const LinearShape& shape, const KWalk& walk, const NeutralRows& rows, int64_t row,
             int64_t count, int64_t output, std::byte* panel) {
  const uint8_t* const codes = rows.codes.data() + row * shape.inputs;
  const int64_t groups = shape.group_count();
  const int64_t scale_bytes = shape.scale_format == ScaleFormat::kF32 ? 4 : 2;
  SegmentSpan span = SpanOfSegment(walk, 0);
  int64_t done = 0;  // inputs of the segment
  for (BlockCursor block(walk, 0); block.leaf < walk.leaves; block.Next(walk)) {
    std::byte* scales = panel + block.at + block.code_bytes(walk);
    int32_t segment = block.segment;
    for (int32_t i = 0; i < block.steps; ++i) {
      const int64_t inputs = std::min<int64_t>(kStepPositions, span.end - span.begin - done);
      std::byte* const step = panel + block.at + i * walk.step_bytes;
      for (int64_t r = 0; r < count; ++r) {
        StoreStep(shape, codes + r * shape.inputs + span.begin + done, inputs,
                  (output + r) % kCuda8TileOutputs,
                  step + (output + r) / kCuda8TileOutputs * (walk.step_bytes / 4));
      }
      done += inputs;
      if ((block.ends >> i & 1) == 0) continue;
      OCTET_CHECK_EQ(done, span.end - span.begin);
      const int64_t group = (shape.input_begin + span.begin) / shape.group - shape.group_begin();
      for (int64_t r = 0; r < count; ++r) {
        const int64_t from = (row + r) * groups + group;
        std::byte* const to = scales + (output + r) * scale_bytes;
        StoreScale(shape.scale_format, rows.scales[from], to);
        if (!shape.asymmetric) continue;
        StoreScale(shape.scale_format, rows.offsets[from], to + kCuda8PanelOutputs * scale_bytes);
      }
      scales += walk.scale_bytes;
      done = 0;
      if (++segment < walk.segments) span = SpanOfSegment(walk, segment);
    }
  }
}

}  // namespace

int64_t Cuda8Bytes(const LinearShape& shape) {
  if (shape.inputs == 0) return 0;
  const int64_t panels = (shape.outputs + kCuda8PanelOutputs - 1) / kCuda8PanelOutputs;
  return panels * KWalk::Of(shape).panel_bytes();
}

void PackCuda8Rows(const LinearShape& shape, int64_t row_begin, const NeutralRows& rows,
                   std::byte* packed) {
  if (shape.inputs == 0) return;
  const KWalk walk = KWalk::Of(shape);
  for (int64_t row = 0; row < rows.rows;) {
    const int64_t output = row_begin + row;
    const int64_t count =
        std::min(rows.rows - row, kCuda8PanelOutputs - output % kCuda8PanelOutputs);
    PackRun(shape, walk, rows, row, count, output % kCuda8PanelOutputs,
            packed + output / kCuda8PanelOutputs * walk.panel_bytes());
    row += count;
  }
}

}  // namespace octet::kernels
