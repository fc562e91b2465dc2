#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/embedding/embedding.h"

namespace octet::kernels::cpu {
namespace {

// Calls use(element, value) for a row of a table.
template <typename Use>
void ForEachElement(DType dtype, const std::byte* row, int64_t hidden, const Use& use) {
  const auto* halves = reinterpret_cast<const uint16_t*>(row);
  const auto* floats = reinterpret_cast<const float*>(row);
  switch (dtype) {
    case DType::kBF16:
      for (int64_t i = 0; i < hidden; ++i) use(i, BF16ToFloat(halves[i]));
      return;
    case DType::kF16:
      for (int64_t i = 0; i < hidden; ++i) use(i, F16ToFloat(halves[i]));
      return;
    default:
      for (int64_t i = 0; i < hidden; ++i) use(i, floats[i]);
  }
}

void LookUp(const EmbeddingArgs& args, int32_t token, float* out) {
  if (token < args.token_begin || token >= args.token_end) {
    std::fill_n(out, args.hidden, 0.0f);
    return;
  }
  const std::byte* row =
      args.table + (token - args.token_begin) * args.hidden * DTypeBytes(args.dtype);
  ForEachElement(args.dtype, row, args.hidden,
                 [&](int64_t i, float value) { out[i] = value + 0.0f; });
}

}  // namespace

void Embedding(const EmbeddingArgs& args, Stream& stream) {
  stream.pool().ParallelFor(args.rows, 4, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      LookUp(args, args.tokens[row], args.out + row * args.hidden);
    }
  });
}

void AddPositions(const AddPositionsArgs& args, Stream& stream) {
  const int64_t row_bytes = args.hidden * DTypeBytes(args.dtype);
  stream.pool().ParallelFor(args.rows, 4, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = args.positions[row] + args.offset;
      OCTET_CHECK(at >= 0 && at < args.table_rows);
      float* x = args.x + row * args.hidden;
      ForEachElement(args.dtype, args.table + at * row_bytes, args.hidden,
                     [&](int64_t i, float value) { x[i] += value; });
    }
  });
}

}  // namespace octet::kernels::cpu
