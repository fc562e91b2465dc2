// The packed form for CUDA: read back by its description in cuda16_layout.h, one code at a time.
#include "kernels/linear/cuda16_layout.h"

#include <gtest/gtest.h>

#include "kernels/linear/segments.h"
#include "tests/kernels/linear/linear_cases.h"

namespace octet::kernels {
namespace {

// What lies at output o, step s of the inputs and input j of that step.
class Unpacker {
 public:
  Unpacker(const LinearShape& shape, const Buffer& packed)
      : shape_(shape), layout_(Cuda16Layout::Of(shape)), packed_(packed) {}

  const Cuda16Layout& layout() const { return layout_; }

  uint8_t Code(int64_t o, int64_t s, int64_t j) const {
    const uint8_t* at = Slab(o, s);
    const int64_t in = s % 4;
    const int64_t lane = Lane(o, j);
    const int64_t h = o % 2, k = j / 8, e = j % 2;
    if (shape_.format == WeightFormat::kInt8) {
      return at[in / 2 * 512 + lane * 16 + (2 * (in % 2) + k) * 4 + h + 2 * e];
    }
    uint32_t word = 0;
    std::memcpy(&word, at + lane * 16 + in * 4, 4);
    return word >> (4 * (2 * h + k + 4 * e)) & 15;
  }

  // Of a float format.
  uint32_t Value(int64_t o, int64_t s, int64_t j) const {
    const uint8_t* at = Slab(o, s);
    const int64_t in = s % 4;
    const int64_t lane = Lane(o, j);
    const int64_t h = o % 2, k = j / 8, e = j % 2;
    uint32_t value = 0;
    if (shape_.format == WeightFormat::kF32) {
      std::memcpy(&value, at + ((2 * in + k) * 32 + lane) * 16 + (2 * h + e) * 4, 4);
    } else {
      std::memcpy(&value, at + (in * 32 + lane) * 16 + (h + 2 * k) * 4 + 2 * e, 2);
    }
    return value;
  }

  // The scale (part 0) or offset (part 1) of the segment that ends with step s.
  float Scale(int64_t o, int64_t s, int64_t part) const {
    const int64_t half = s / 4 % 2;
    const int64_t slot = layout_.steps[s].slot + part * layout_.inputs.slots[half];
    const uint8_t* at = Stage(o, s) + layout_.code_bytes +
                        (slot * 64 + o % 64) * Cuda16ScaleBytes(shape_.scale_format);
    if (shape_.scale_format == ScaleFormat::kF32) {
      float value = 0;
      std::memcpy(&value, at, 4);
      return value;
    }
    uint16_t bits = 0;
    std::memcpy(&bits, at, 2);
    return F16ToFloat(bits);
  }

 private:
  static int64_t Lane(int64_t o, int64_t j) { return o % 16 / 2 * 4 + j % 8 / 2; }
  const uint8_t* Stage(int64_t o, int64_t s) const {
    const auto* base = reinterpret_cast<const uint8_t*>(packed_.data());
    return base + o / 64 * layout_.panel_bytes + s / 8 * layout_.block_bytes() +
           s / 4 % 2 * layout_.stage_bytes[0];
  }
  const uint8_t* Slab(int64_t o, int64_t s) const {
    return Stage(o, s) + o % 64 / 16 * (layout_.code_bytes / 4);
  }

  const LinearShape& shape_;
  Cuda16Layout layout_;
  const Buffer& packed_;
};

void ExpectReadsBack(const LinearShape& shape, const NeutralRows& weights, const Buffer& packed) {
  const Unpacker unpacker(shape, packed);
  const std::vector<Cuda16Step>& steps = unpacker.layout().steps;
  int64_t seen = 0;
  for (size_t s = 0; s < steps.size(); ++s) {
    for (int64_t o = 0; o < shape.outputs; ++o) {
      for (int64_t j = 0; j < steps[s].inputs; ++j) {
        const int64_t at = o * shape.inputs + steps[s].input + j;
        if (IsQuantized(shape.format)) {
          ASSERT_EQ(unpacker.Code(o, s, j), weights.codes[at]);
        } else {
          uint32_t value = 0;
          const int64_t bytes = ValueBytes(shape.format);
          std::memcpy(&value, &weights.values[at * bytes], bytes);
          ASSERT_EQ(unpacker.Value(o, s, j), value);
        }
        ++seen;
      }
      if (!IsQuantized(shape.format) || steps[s].slot < 0) continue;
      const int64_t at = o * shape.group_count() + steps[s].group;
      ASSERT_EQ(unpacker.Scale(o, s, 0), weights.scales[at]);
      if (shape.asymmetric) {
        ASSERT_EQ(unpacker.Scale(o, s, 1), weights.offsets[at]);
      }
    }
  }
  EXPECT_EQ(seen, shape.outputs * shape.inputs);
}

TEST(Cuda16Layout, ReadsBack) {
  std::mt19937 random(41);
  for (const SumTree& tree : {SumTree::OverInputs(1848), SumTree::OverInputs(300),
                              SumTree::OverHeads(8, 8, 80), SumTree::OverHeads(4, 4, 20)}) {
    for (const WeightFormat format : kFormats) {
      for (const int64_t group : {int64_t{32}, int64_t{128}, tree.inputs()}) {
        LinearShape shape = WholeShape(tree, format, 101, group, random() % 2 == 0);
        shape.layout = WeightLayout::kCuda16;
        shape.scale_format = random() % 2 == 0 ? ScaleFormat::kF16 : ScaleFormat::kF32;
        const NeutralRows weights = RandomWeights(shape, random);
        const Buffer whole = Pack(shape, weights);
        ExpectReadsBack(shape, weights, whole);
        // In any order, in any pieces.
        Buffer pieces(PackedLinearBytes(shape));
        for (const int64_t begin : {67, 0, 100, 33, 34}) {
          const int64_t end = begin == 0    ? 33
                              : begin == 33 ? 34
                              : begin == 34 ? 67
                              : begin == 67 ? 100
                                            : 101;
          PackLinearRows(shape, begin, Slice(weights, shape, begin, end, shape), pieces.data());
        }
        EXPECT_EQ(std::memcmp(pieces.data(), whole.data(), whole.bytes()), 0);
      }
    }
  }
}

// Bytes per weight that the layout costs, for the shapes it is made for.
TEST(Cuda16Layout, IsDense) {
  const SumTree tree = SumTree::OverInputs(8192);
  const auto bytes = [&](WeightFormat format, int64_t group, bool asymmetric) {
    LinearShape shape = WholeShape(tree, format, 128, group, asymmetric);
    shape.layout = WeightLayout::kCuda16;
    return PackedLinearBytes(shape) * 128 / (128 * 8192);  // of 128 weights
  };
  EXPECT_EQ(bytes(WeightFormat::kInt4, 128, false), 64 + 2);
  EXPECT_EQ(bytes(WeightFormat::kInt4, 128, true), 64 + 4);
  EXPECT_EQ(bytes(WeightFormat::kInt4, 32, false), 64 + 8);
  EXPECT_EQ(bytes(WeightFormat::kInt8, 128, false), 128 + 2);
  EXPECT_EQ(bytes(WeightFormat::kBF16, 128, false), 256);
}

// Inputs that are multiples of eight inside leaves can be read where they lie.
TEST(Cuda16Layout, KnowsWhatLiesInPlace) {
  const auto in_place = [](const SumTree& tree, int64_t group) {
    return Cuda16Layout::Of(WholeShape(tree, WeightFormat::kInt4, 1, group)).in_place;
  };
  EXPECT_TRUE(in_place(SumTree::OverInputs(29568), 128));
  EXPECT_TRUE(in_place(SumTree::OverHeads(8, 8, 80), 32));
  EXPECT_FALSE(in_place(SumTree::OverInputs(300), 128));
  EXPECT_FALSE(in_place(SumTree::OverHeads(4, 4, 20), 32));
}

}  // namespace
}  // namespace octet::kernels
