// Rows that attention computed against double precision.
#pragma once

#include <ostream>
#include <vector>

#include "tests/kernels/attention/paged_context.h"

namespace octet::kernels::test {

struct Comparison {
  int wrong = 0;     // values off their bounds
  double worst = 0;  // error as a share of the bound
  ContextShape shape;

  friend std::ostream& operator<<(std::ostream& out, const Comparison& c) {
    return out << c.wrong << " values off their bounds, worst " << c.worst << " of it, format "
               << static_cast<int>(c.shape.format) << " heads " << c.shape.heads << "/"
               << c.shape.kv_heads << " of " << c.shape.head_dim << " window " << c.shape.window;
  }
};

// Every `step`-th row of each run and its last; `bounds` is a member of Expected.
inline Comparison Compare(const PagedContext& context, const std::vector<PagedContext::Rows>& runs,
                          const std::vector<float>& got, int64_t step,
                          std::vector<double> PagedContext::Expected::*bounds) {
  Comparison comparison;
  comparison.shape = context.shape();
  size_t row = 0;
  for (const PagedContext::Rows& run : runs) {
    for (int64_t i = 0; i < run.count; ++i, ++row) {
      if (i % step != 0 && i + 1 != run.count) continue;
      const auto expected = context.Reference(run.sequence, run.first_position + i);
      const size_t width = expected.values.size();
      for (size_t d = 0; d < width; ++d) {
        const double error = std::abs(got[row * width + d] - expected.values[d]);
        const double bound = (expected.*bounds)[d];
        comparison.worst = std::max(comparison.worst, error / bound);
        comparison.wrong += !(error <= bound);  // a NaN is wrong
      }
    }
  }
  return comparison;
}

}  // namespace octet::kernels::test
