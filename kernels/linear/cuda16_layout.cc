#include "kernels/linear/cuda16_layout.h"

#include <algorithm>
#include <array>
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

// Two outputs that share words fill their lanes of a stage of whole steps: a word of four lanes in
// each vector.
using Words = uint32_t __attribute__((vector_size(16)));
using Bytes = uint8_t __attribute__((vector_size(16)));
using Eights = uint64_t __attribute__((vector_size(16)));

uint64_t LoadEight(const uint8_t* from) {
  uint64_t eight;
  std::memcpy(&eight, from, sizeof(eight));
  return eight;
}

// Bytes of a and b in turn.
Words Interleaved(uint64_t a, uint64_t b) {
  const auto first = reinterpret_cast<Bytes>(Eights{a, 0});
  const auto second = reinterpret_cast<Bytes>(Eights{b, 0});
  return reinterpret_cast<Words>(__builtin_shufflevector(first, second, 0, 16, 1, 17, 2, 18, 3, 19,
                                                         4, 20, 5, 21, 6, 22, 7, 23));
}

// Lane t gets word t of each vector, in their order.
void StoreLanes(const Words (&words)[4], std::byte* to) {
  const Words a = __builtin_shufflevector(words[0], words[1], 0, 4, 1, 5);
  const Words b = __builtin_shufflevector(words[0], words[1], 2, 6, 3, 7);
  const Words c = __builtin_shufflevector(words[2], words[3], 0, 4, 1, 5);
  const Words d = __builtin_shufflevector(words[2], words[3], 2, 6, 3, 7);
  const Words lanes[] = {
      __builtin_shufflevector(a, c, 0, 1, 4, 5), __builtin_shufflevector(a, c, 2, 3, 6, 7),
      __builtin_shufflevector(b, d, 0, 1, 4, 5), __builtin_shufflevector(b, d, 2, 3, 6, 7)};
  std::memcpy(to, lanes, sizeof(lanes));
}

// `steps` of a stage; rows of codes, or of values of 16 bits, of the outputs 2 i and 2 i + 1.
void PackPairOfCodes4(const Cuda16Step* steps, std::array<const uint8_t*, 2> rows,
                      std::byte* lanes) {
  Words words[kCuda16StageSteps];
  uint64_t all = 0;
  for (int s = 0; s < kCuda16StageSteps; ++s) {
    uint64_t nibbles[2];
    for (int h = 0; h < 2; ++h) {
      const uint64_t low = LoadEight(rows[h] + steps[s].input);
      const uint64_t high = LoadEight(rows[h] + steps[s].input + 8);
      all |= low | high;
      nibbles[h] = low | high << 4;
    }
    words[s] = Interleaved(nibbles[0], nibbles[1]);
  }
  OCTET_CHECK_EQ(all & 0xf0f0f0f0f0f0f0f0u, 0u);
  StoreLanes(words, lanes);
}

void PackPairOfCodes8(const Cuda16Step* steps, std::array<const uint8_t*, 2> rows,
                      std::byte* lanes) {
  for (int part = 0; part < 2; ++part) {
    Words words[4];
    for (int i = 0; i < 4; ++i) {
      const int32_t input = steps[2 * part + i / 2].input + i % 2 * 8;
      words[i] = Interleaved(LoadEight(rows[0] + input), LoadEight(rows[1] + input));
    }
    StoreLanes(words, lanes + part * 512);
  }
}

void PackPairOfHalves(const Cuda16Step* steps, std::array<const uint8_t*, 2> rows,
                      std::byte* lanes) {
  for (int s = 0; s < kCuda16StageSteps; ++s) {
    Words words[4];
    for (int i = 0; i < 4; ++i) {
      std::memcpy(&words[i], rows[i % 2] + 2 * (steps[s].input + i / 2 * 8), sizeof(words[i]));
    }
    StoreLanes(words, lanes + s * 512);
  }
}

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

// What packs a stage of whole steps for two outputs at once; null where nothing does.
auto PairPacker(WeightFormat format) {
  return format == WeightFormat::kInt4   ? PackPairOfCodes4
         : format == WeightFormat::kInt8 ? PackPairOfCodes8
         : format == WeightFormat::kF32  ? nullptr
                                         : PackPairOfHalves;
}

// Rows [row, row + count), all of one panel, whose first stage is `stage`. Stage by stage, so that
// memory is written from front to back.
void PackRun(const LinearShape& shape, const Cuda16Layout& layout, int64_t row_begin,
             const NeutralRows& rows, int64_t row, int64_t count, std::byte* stage) {
  const bool quantized = IsQuantized(shape.format);
  const int64_t row_bytes = shape.inputs * (quantized ? 1 : ValueBytes(shape.format));
  const uint8_t* const first = quantized ? rows.codes.data() : rows.values.data();
  const int64_t slab_bytes = layout.code_bytes * kCuda16SlabOutputs / kRows;
  const auto pack_pair = PairPacker(shape.format);
  for (size_t half = 0; half * kCuda16StageSteps < layout.steps.size(); ++half) {
    const Cuda16Step* const steps = layout.steps.data() + half * kCuda16StageSteps;
    const bool whole = std::all_of(steps, steps + kCuda16StageSteps, [](const Cuda16Step& step) {
      return step.inputs == kCuda16StepInputs;
    });
    for (int64_t i = row; i < row + count; ++i) {
      const Lanes lanes((row_begin + i) % kRows);
      const uint8_t* const from = first + i * row_bytes;
      std::byte* const slab = stage + lanes.slab * slab_bytes;
      if (whole && pack_pair != nullptr && lanes.h == 0 && i + 1 < row + count) {
        pack_pair(steps, {from, from + row_bytes}, slab + lanes.first * 16);
        ++i;
        continue;
      }
      for (int64_t s = 0; s < kCuda16StageSteps; ++s) {
        if (quantized)
          PackCodes(shape.format, steps[s], s, lanes, from, slab);
        else
          PackValues(shape.format, steps[s], s, lanes, from, slab);
      }
    }
    for (const Cuda16Step* step = steps; quantized && step < steps + kCuda16StageSteps; ++step) {
      if (step->slot < 0) continue;
      for (int64_t i = row; i < row + count; ++i) {
        PackScales(shape, layout, *step, static_cast<int64_t>(half % 2), rows, i,
                   stage + layout.code_bytes, (row_begin + i) % kRows);
      }
    }
    stage += layout.stage_bytes[half % 2];
  }
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
  for (int64_t row = 0; row < rows.rows;) {
    const int64_t output = row_begin + row;
    const int64_t count = std::min(rows.rows - row, kRows - output % kRows);
    PackRun(shape, layout, row_begin, rows, row, count,
            packed + output / kRows * layout.panel_bytes);
    row += count;
  }
}

}  // namespace octet::kernels
