#include "kernels/linear/cuda8_layout.h"

#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/check.h"
#include "kernels/linear/k_walk.h"
#include "kernels/linear/stored_scale.h"

namespace octet::kernels {
namespace {

// One output's codes of one step, padded with what stands for 0, to their places; `tile` are the
// step's codes of the output's tile.
void StoreStep(const LinearShape& shape, const uint8_t* codes, int64_t inputs, int64_t output,
               std::byte* tile) {
  const bool int4 = shape.format == WeightFormat::kInt4;
  const uint8_t flip = shape.asymmetric ? 0 : int4 ? 0x8 : 0x80;
  uint8_t step[kStepPositions] = {};
  for (int64_t i = 0; i < inputs; ++i) {
    if (int4) OCTET_CHECK_LT(static_cast<int>(codes[i]), 16);
    step[i] = codes[i] ^ flip;
  }
  const int64_t g = output % 8;
  const int64_t half = output / 8;
  for (int64_t t = 0; t < 4; ++t) {
    const uint8_t* low = step + 4 * t;
    const uint8_t* high = low + 16;
    const int64_t lane = 4 * g + t;
    if (int4) {
      uint8_t word[4];
      for (int j = 0; j < 4; ++j) word[j] = static_cast<uint8_t>(low[j] | high[j] << 4);
      std::memcpy(tile + lane * 8 + half * 4, word, 4);
    } else {
      std::memcpy(tile + lane * 16 + half * 4, low, 4);
      std::memcpy(tile + lane * 16 + 8 + half * 4, high, 4);
    }
  }
}

// Places what one output has in its panel. Row `row` of `rows` is output `output` of the panel.
void PackRow(const LinearShape& shape, const KWalk& walk, const NeutralRows& rows, int64_t row,
             int64_t output, std::byte* panel) {
  const uint8_t* codes = rows.codes.data() + row * shape.inputs;
  const int64_t groups = shape.group_count();
  const int64_t scale_bytes = shape.scale_format == ScaleFormat::kF32 ? 4 : 2;
  const int64_t tile_at = output / kCuda8TileOutputs * (walk.step_bytes / 4);
  SegmentSpan span = SpanOfSegment(walk, 0);
  int64_t done = 0;  // inputs of the segment
  for (BlockCursor block(walk, 0); block.leaf < walk.leaves; block.Next(walk)) {
    std::byte* scales = panel + block.at + block.code_bytes(walk);
    int32_t segment = block.segment;
    for (int32_t i = 0; i < block.steps; ++i) {
      const int64_t inputs = std::min<int64_t>(kStepPositions, span.end - span.begin - done);
      StoreStep(shape, codes + span.begin + done, inputs, output % kCuda8TileOutputs,
                panel + block.at + i * walk.step_bytes + tile_at);
      done += inputs;
      if ((block.ends >> i & 1) == 0) continue;
      OCTET_CHECK_EQ(done, span.end - span.begin);
      const int64_t group = (shape.input_begin + span.begin) / shape.group - shape.group_begin();
      StoreScale(shape.scale_format, rows.scales[row * groups + group],
                 scales + output * scale_bytes);
      if (shape.asymmetric) {
        StoreScale(shape.scale_format, rows.offsets[row * groups + group],
                   scales + (kCuda8PanelOutputs + output) * scale_bytes);
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
  for (int64_t row = 0; row < rows.rows; ++row) {
    const int64_t output = row_begin + row;
    PackRow(shape, walk, rows, row, output % kCuda8PanelOutputs,
            packed + output / kCuda8PanelOutputs * walk.panel_bytes());
  }
}

}  // namespace octet::kernels
