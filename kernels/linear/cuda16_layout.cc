#include "kernels/linear/cuda16_layout.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/linear/segments.h"
#include "kernels/linear/stored_scale.h"

namespace octet::kernels {
namespace {

constexpr int64_t kRows = kCuda16PanelOutputs;

// Appends the steps of one segment. Slots are given later.
void AppendSegment(const Segment& segment, std::vector<Cuda16Step>* steps) {
  for (int32_t done = 0; done < segment.inputs; done += kCuda16StepInputs) {
    steps->push_back({segment.begin + done, std::min(kCuda16StepInputs, segment.inputs - done),
                      segment.group, -1});
  }
  steps->back().slot = 0;
}

// Gives the segments that end in each half of each block their slots, and counts them.
void GiveSlots(bool quantized, Cuda16Layout* layout) {
  for (size_t half = 0; half * kCuda16StageSteps < layout->steps.size(); ++half) {
    int32_t slots = 0;
    for (int step = 0; step < kCuda16StageSteps; ++step) {
      Cuda16Step& s = layout->steps[half * kCuda16StageSteps + step];
      if (s.slot < 0) continue;
      const size_t bit = half % 2 * kCuda16StageSteps + step;
      layout->inputs.segment_ends[half / 2] |= static_cast<uint8_t>(1u << bit);
      s.slot = slots++;
    }
    int32_t& most = layout->inputs.slots[half % 2];
    if (quantized) most = std::max(most, slots);
  }
}

// Whether activations can be read where they lie.
bool InPlace(const Cuda16Layout& layout) {
  for (int32_t leaf = 0; leaf < layout.inputs.leaves; ++leaf) {
    const int64_t first = int64_t{layout.inputs.leaf_block[leaf]} * kCuda16BlockSteps;
    const int64_t end = int64_t{layout.inputs.leaf_block[leaf + 1]} * kCuda16BlockSteps;
    const int32_t input = layout.inputs.leaf_input[leaf];
    if (input % 8 != 0) return false;
    for (int64_t i = first; i < end; ++i) {
      const Cuda16Step& step = layout.steps[i];
      if (step.inputs % 8 != 0) return false;
      if (step.inputs != 0 && step.input != input + (i - first) * kCuda16StepInputs) return false;
    }
  }
  return true;
}

// Where the fragments of a slab's stage begin, and which lane and half of the fragment's rows.
struct Lanes {
  explicit Lanes(int64_t row)
      : slab(row / kCuda16SlabOutputs), first(row % 16 / 2 * 4), h(row % 2) {}
  int64_t slab;
  int64_t first;  // of four lanes
  int64_t h;
};

// The bytes of one output's fragments of one step: `store(lane, k, e, input)` for its 16 inputs.
template <typename Store>
void EachElement(const Lanes& lanes, const Store& store) {
  for (int64_t input = 0; input < kCuda16StepInputs; ++input) {
    store(lanes.first + input % 8 / 2, input / 8, input % 2, input);
  }
}

void PackCodes(WeightFormat format, const Cuda16Step& step, int64_t s, const Lanes& lanes,
               const uint8_t* from, std::byte* slab) {
  uint8_t codes[kCuda16StepInputs] = {};
  std::memcpy(codes, from + step.input, step.inputs);
  if (format == WeightFormat::kInt8) {
    std::byte* part = slab + s / 2 * 512;
    EachElement(lanes, [&](int64_t lane, int64_t k, int64_t e, int64_t input) {
      part[lane * 16 + (2 * (s % 2) + k) * 4 + lanes.h + 2 * e] = std::byte{codes[input]};
    });
    return;
  }
  for (int64_t input = 0; input < kCuda16StepInputs / 2; ++input) {
    OCTET_CHECK_LT(static_cast<int>(codes[input] | codes[input + 8]), 16);
    // Nibbles 2h and 2h + 1 of element e are one byte: inputs 8 apart.
    const int64_t lane = lanes.first + input / 2;
    slab[lane * 16 + s * 4 + lanes.h + 2 * (input % 2)] =
        std::byte{static_cast<uint8_t>(codes[input] | codes[input + 8] << 4)};
  }
}

void PackValues(WeightFormat format, const Cuda16Step& step, int64_t s, const Lanes& lanes,
                const uint8_t* from, std::byte* slab) {
  const int64_t bytes = ValueBytes(format);
  EachElement(lanes, [&](int64_t lane, int64_t k, int64_t e, int64_t input) {
    if (input >= step.inputs) return;
    const int64_t at = bytes == 2 ? (s * 32 + lane) * 16 + (lanes.h + 2 * k) * 4 + 2 * e
                                  : ((2 * s + k) * 32 + lane) * 16 + (2 * lanes.h + e) * 4;
    std::memcpy(slab + at, from + (step.input + input) * bytes, bytes);
  });
}

void PackScales(const LinearShape& shape, const Cuda16Layout& layout, const Cuda16Step& step,
                int64_t half, const NeutralRows& rows, int64_t row, std::byte* scales,
                int64_t place) {
  const int64_t bytes = Cuda16ScaleBytes(shape.scale_format);
  const int64_t from = row * shape.group_count() + step.group;
  std::byte* to = scales + (step.slot * kRows + place) * bytes;
  StoreScale(shape.scale_format, rows.scales[from], to);
  if (!shape.asymmetric) return;
  StoreScale(shape.scale_format, rows.offsets[from],
             to + layout.inputs.slots[half] * kRows * bytes);
}

}  // namespace

Cuda16Layout Cuda16Layout::Of(const LinearShape& shape) {
  Cuda16Layout layout;
  const auto leaves = static_cast<int64_t>(shape.merges.size());
  OCTET_CHECK_LE(leaves, kPartLeavesMax);
  layout.inputs.leaves = static_cast<int32_t>(leaves);
  std::vector<Segment> segments(CountSegments(shape).segments);
  BuildSegments(shape, segments.data());
  int32_t leaf = 0;
  int32_t count = 0;
  for (const Segment& segment : segments) {
    ++count;
    AppendSegment(segment, &layout.steps);
    if (segment.merges < 0) continue;  // the leaf goes on
    while (layout.steps.size() % kCuda16BlockSteps != 0) layout.steps.emplace_back();
    ++leaf;
    layout.inputs.leaf_input[leaf] = segment.begin + segment.inputs;
    layout.inputs.leaf_segment[leaf] = count;
    OCTET_CHECK_LE(layout.blocks(), kCuda16BlocksMax);
    layout.inputs.leaf_block[leaf] = static_cast<uint16_t>(layout.blocks());
  }
  const bool quantized = IsQuantized(shape.format);
  GiveSlots(quantized, &layout);
  layout.in_place = InPlace(layout);
  layout.panels = (shape.outputs + kRows - 1) / kRows;
  layout.code_bytes = Cuda16CodeBytes(shape.format);
  for (int half = 0; half < 2; ++half) {
    const int64_t scales = layout.inputs.slots[half] * kRows * (shape.asymmetric ? 2 : 1);
    layout.stage_bytes[half] =
        layout.code_bytes + static_cast<int32_t>(scales * Cuda16ScaleBytes(shape.scale_format));
  }
  layout.panel_bytes = layout.blocks() * layout.block_bytes();
  return layout;
}

int64_t Cuda16Bytes(const LinearShape& shape) {
  const Cuda16Layout layout = Cuda16Layout::Of(shape);
  return layout.panels * layout.panel_bytes;
}

void PackCuda16Rows(const LinearShape& shape, int64_t row_begin, const NeutralRows& rows,
                    std::byte* packed) {
  const Cuda16Layout layout = Cuda16Layout::Of(shape);
  const bool quantized = IsQuantized(shape.format);
  const int64_t slab_bytes = layout.code_bytes * kCuda16SlabOutputs / kRows;
  for (int64_t row = 0; row < rows.rows; ++row) {
    const int64_t output = row_begin + row;
    const Lanes lanes(output % kRows);
    std::byte* stage = packed + output / kRows * layout.panel_bytes;
    for (size_t half = 0; half * kCuda16StageSteps < layout.steps.size(); ++half) {
      std::byte* slab = stage + lanes.slab * slab_bytes;
      for (int64_t s = 0; s < kCuda16StageSteps; ++s) {
        const Cuda16Step& step = layout.steps[half * kCuda16StageSteps + s];
        if (step.inputs == 0) continue;
        if (!quantized) {
          PackValues(shape.format, step, s, lanes,
                     rows.values.data() + row * shape.inputs * ValueBytes(shape.format), slab);
          continue;
        }
        PackCodes(shape.format, step, s, lanes, rows.codes.data() + row * shape.inputs, slab);
        if (step.slot < 0) continue;
        PackScales(shape, layout, step, static_cast<int64_t>(half % 2), rows, row,
                   stage + layout.code_bytes, output % kRows);
      }
      stage += layout.stage_bytes[half % 2];
    }
  }
}

}  // namespace octet::kernels
