#include <algorithm>
#include <array>
#include <span>

#include "base/ordered_sum.h"
#include "kernels/isa.h"
#include "kernels/norm/head_norm.h"
#include "kernels/norm/norm.h"
#include "kernels/norm/norm_isa.h"
#include "kernels/norm/sum_norm.h"

namespace octet::kernels::cpu {

namespace {

// Both ops' arguments have the norm's under the same names.
template <typename Args>
void NormRow(const NormBody& body, const Args& args, const float* x, float* y) {
  if (args.centered) {
    body.layer_norm_row(x, args.weight, args.bias, y, args.hidden, args.eps);
  } else {
    body.rms_norm_row(x, args.weight, y, args.hidden, args.eps);
  }
}

// One row of roots that lie `stride` apart, added in the tree's order on the way into the residual.
void AddRootsRow(const NormBody& body, const SumAddNormArgs& args, int64_t row, float* residual) {
  constexpr int64_t kBlock = 512;
  const int64_t hidden = args.norm.hidden;
  const int64_t stride = args.norm.rows * hidden;
  const auto count = static_cast<int64_t>(args.tree->merges.size());
  const float* first = args.roots + row * hidden;
  if (count == 1) return body.add_row(residual, first, hidden);
  if (count == 2) return body.add_sum_row(residual, first, first + stride, hidden);
  std::array<const float*, kRootsMax> roots;
  for (int64_t i = 0; i < count; ++i) roots[i] = first + i * stride;
  for (int64_t begin = 0; begin < hidden; begin += kBlock) {
    const int64_t floats = std::min(kBlock, hidden - begin);
    alignas(64) float sums[kBlock];
    OrderedSum({roots.data(), static_cast<size_t>(count)}, args.tree->merges, 0, floats, sums);
    body.add_row(residual + begin, sums, floats);
    for (int64_t i = 0; i < count; ++i) roots[i] += floats;
  }
}

// Adds a row into the residual by `add`, then delta_bias, and norms it.
template <typename Add>
void AddNormRows(const AddNormArgs& args, Stream& stream, const Add& add) {
  const NormBody& body = OfActiveIsa(kPlainNorm, kAvx2Norm, kAvx512Norm);
  const int64_t hidden = args.hidden;
  stream.pool().ParallelFor(args.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* residual = args.residual + row * hidden;
      add(body, row, residual);
      if (args.delta_bias != nullptr) body.add_row(residual, args.delta_bias, hidden);
      NormRow(body, args, residual, args.y + row * hidden);
    }
  });
}

}  // namespace

void Norm(const NormArgs& args, Stream& stream) {
  const NormBody& body = OfActiveIsa(kPlainNorm, kAvx2Norm, kAvx512Norm);
  const int64_t hidden = args.hidden;
  stream.pool().ParallelFor(args.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      NormRow(body, args, args.x + row * hidden, args.y + row * hidden);
    }
  });
}

void AddNorm(const AddNormArgs& args, Stream& stream) {
  AddNormRows(args, stream, [&](const NormBody& body, int64_t row, float* residual) {
    body.add_row(residual, args.delta + row * args.hidden, args.hidden);
  });
}

void SumAddNorm(const SumAddNormArgs& args, Stream& stream) {
  AddNormRows(args.norm, stream, [&](const NormBody& body, int64_t row, float* residual) {
    AddRootsRow(body, args, row, residual);
  });
}

void HeadNorm(const HeadNormArgs& args, Stream& stream) {
  const NormBody& body = OfActiveIsa(kPlainNorm, kAvx2Norm, kAvx512Norm);
  stream.pool().ParallelFor(args.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t head = 0; head < args.heads + args.kv_heads; ++head) {
        float* x = args.x + row * args.x_stride + head * args.head_dim;
        const float* weight = head < args.heads ? args.q_weight : args.k_weight;
        body.rms_norm_row(x, weight, x, args.head_dim, args.eps);
      }
    }
  });
}

}  // namespace octet::kernels::cpu
