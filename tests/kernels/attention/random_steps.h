// Steps of attention that are drawn at random (tests/support/dice.h).
#pragma once

#include <algorithm>
#include <initializer_list>
#include <sstream>
#include <string>
#include <vector>

#include "tests/kernels/attention/paged_context.h"
#include "tests/support/dice.h"

namespace octet::kernels::test {

// With one of the head dims.
inline ContextShape RandomContext(std::initializer_list<int64_t> head_dims,
                                  octet::test::Dice& dice) {
  ContextShape shape;
  shape.format = dice.Of({KvFormat::kInt8, KvFormat::kInt8, KvFormat::kBF16, KvFormat::kInt4});
  shape.kv_heads = dice.Between(1, 3);
  shape.heads = shape.kv_heads * dice.Between(1, dice.OneIn(3) ? 20 : 9);
  shape.head_dim = dice.Of(head_dims);
  shape.window = dice.OneIn(2) ? 0 : dice.Between(1, 700);
  shape.outlier = dice.OneIn(4) ? static_cast<float>(dice.Between(1, 300)) : 0.0f;
  for (int64_t sequences = dice.Between(1, 3); sequences > 0; --sequences)
    shape.lengths.push_back(dice.OneIn(3) ? dice.Between(300, 1300) : dice.Between(1, 300));
  return shape;
}

// Of each sequence a decoding row or a chunk, at the end of what is cached or before, in any order.
inline std::vector<PagedContext::Rows> RandomRuns(const ContextShape& shape,
                                                  octet::test::Dice& dice) {
  std::vector<PagedContext::Rows> runs;
  for (size_t sequence = 0; sequence < shape.lengths.size(); ++sequence) {
    const int64_t length = shape.lengths[sequence];
    const int64_t chunk = std::min<int64_t>(length, dice.OneIn(3) ? 70 : 12);
    const int64_t count = dice.OneIn(2) ? 1 : dice.Between(1, chunk);
    runs.push_back(
        {sequence, dice.OneIn(2) ? length - count : dice.Between(0, length - count), count});
  }
  std::shuffle(runs.begin(), runs.end(), dice.engine());
  return runs;
}

inline std::string Describe(const ContextShape& shape,
                            const std::vector<PagedContext::Rows>& runs) {
  std::ostringstream out;
  out << "format " << static_cast<int>(shape.format) << " heads " << shape.heads << "/"
      << shape.kv_heads << " of " << shape.head_dim << " window " << shape.window << " outlier "
      << shape.outlier << ", rows";
  for (const PagedContext::Rows& run : runs) {
    out << " " << run.sequence << ": " << run.first_position << " + " << run.count << " of "
        << shape.lengths[run.sequence];
  }
  return out.str();
}

}  // namespace octet::kernels::test
