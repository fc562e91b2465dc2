#include "base/ordered_sum.h"

#include <algorithm>
#include <cstring>

namespace octet {
namespace {

constexpr int64_t kBlock = 512;  // floats: the operands of a merge stay in the first cache

void Add(const float* left, const float* right, float* __restrict out, int64_t count) {
  for (int64_t k = 0; k < count; ++k) out[k] = left[k] + right[k];
}

// In place; apart from Add so that neither loop needs a run-time overlap test.
void AddTo(float* __restrict left, const float* __restrict right, int64_t count) {
  for (int64_t k = 0; k < count; ++k) left[k] = left[k] + right[k];
}

}  // namespace

void OrderedSum(std::span<const float* const> roots, std::span<const int32_t> merges, int64_t begin,
                int64_t end, float* out) {
  const auto root_count = static_cast<int64_t>(roots.size());
  if (root_count == 1) {
    std::memcpy(out + begin, roots[0] + begin, static_cast<size_t>(end - begin) * sizeof(float));
    return;
  }
  // A partial sum that is a root is read where it lies; one that was added up lies in sums[depth].
  const float* stack[kRootsMax];
  alignas(64) float sums[kRootsMax][kBlock];
  for (int64_t block = begin; block < end; block += kBlock) {
    const int64_t count = std::min(kBlock, end - block);
    int64_t depth = 0;
    for (int64_t i = 0; i < root_count; ++i) {
      stack[depth++] = roots[i] + block;
      for (int32_t merge = 0; merge < merges[i]; ++merge) {
        const float* right = stack[--depth];
        const float* left = stack[depth - 1];
        float* sum = sums[depth - 1];
        if (depth == 1 && i + 1 == root_count) {
          Add(left, right, out + block, count);
        } else if (left == sum) {
          AddTo(sum, right, count);
        } else {
          Add(left, right, sum, count);
        }
        stack[depth - 1] = sum;
      }
    }
  }
}

}  // namespace octet
