// Linears whose shapes are drawn at random (tests/support/dice.h).
#pragma once

#include "tests/kernels/linear/linear_cases.h"
#include "tests/support/dice.h"

namespace octet::kernels::test {

// Trees over heads and over inputs, regular ones and others, up to 70 blocks of 128 inputs.
inline SumTree RandomTree(octet::test::Dice& dice) {
  if (dice.OneIn(3)) {
    const int64_t kv_heads = dice.Between(1, 4);
    return SumTree::OverHeads(kv_heads * dice.Between(1, 4), kv_heads,
                              dice.Of({20, 32, 48, 64, 80, 128}));
  }
  if (dice.OneIn(8)) return SumTree::OverInputs(128 * dice.Between(20, 70));
  if (dice.OneIn(2)) return SumTree::OverInputs(128 * dice.Between(1, 12));
  return SumTree::OverInputs(dice.OneIn(2) ? 8 * dice.Between(1, 150) : dice.Between(1, 900));
}

// The whole of a linear, or a shard's leaves of it.
inline LinearShape RandomShape(std::initializer_list<WeightFormat> formats,
                               octet::test::Dice& dice) {
  const SumTree tree = RandomTree(dice);
  const int64_t inputs = tree.bounds().back();
  const WeightFormat format = dice.Of(formats);
  const int64_t group = dice.Of<int64_t>({32, 64, 128, 128, inputs});
  const int64_t outputs = dice.Between(1, inputs > 2000 ? 70 : dice.OneIn(3) ? 300 : 150);
  LinearShape shape = WholeShape(tree, format, outputs, group, dice.OneIn(2));
  shape.scale_format = dice.OneIn(3) ? ScaleFormat::kF32 : ScaleFormat::kF16;
  if (tree.leaf_count() < 3 || !dice.OneIn(3)) return shape;
  const int64_t begin = dice.Between(0, tree.leaf_count() - 1);
  return WithLeaves(shape, tree, {begin, dice.Between(begin + 1, tree.leaf_count())});
}

inline int64_t RandomRows(const LinearShape& shape, octet::test::Dice& dice) {
  if (dice.OneIn(2) || shape.inputs > 2000) return dice.Between(1, 16);
  return dice.OneIn(2) ? dice.Between(1, 70) : dice.Between(60, 140);
}

// A row of a problem's x, [inputs].
inline std::vector<float> RowOf(const std::vector<float>& x, int64_t inputs, int64_t row) {
  return {x.begin() + row * inputs, x.begin() + (row + 1) * inputs};
}

// Of [roots, rows, outputs], one row's.
inline std::vector<float> OutputsOf(const std::vector<float>& out, const LinearShape& shape,
                                    int64_t rows, int64_t row) {
  std::vector<float> own;
  for (int64_t root = 0; root < shape.root_count(); ++root) {
    const auto begin = out.begin() + (root * rows + row) * shape.outputs;
    own.insert(own.end(), begin, begin + shape.outputs);
  }
  return own;
}

}  // namespace octet::kernels::test
