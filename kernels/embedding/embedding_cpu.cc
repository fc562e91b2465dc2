#include <algorithm>
#include <cstring>

#include "kernels/embedding/embedding.h"

namespace octet::kernels::cpu {
namespace {

template <typename T, typename Widen>
void WidenRow(const std::byte* row, int64_t hidden, float* out, const Widen& widen) {
  const auto* values = reinterpret_cast<const T*>(row);
  for (int64_t i = 0; i < hidden; ++i) out[i] = widen(values[i]) + 0.0f;
}

void LookUp(const EmbeddingArgs& args, int32_t token, float* out) {
  if (token < args.token_begin || token >= args.token_end) {
    std::fill_n(out, args.hidden, 0.0f);
    return;
  }
  const std::byte* row =
      args.table + (token - args.token_begin) * args.hidden * DTypeBytes(args.dtype);
  switch (args.dtype) {
    case DType::kBF16:
      return WidenRow<uint16_t>(row, args.hidden, out, BF16ToFloat);
    case DType::kF16:
      return WidenRow<uint16_t>(row, args.hidden, out, F16ToFloat);
    default:
      return WidenRow<float>(row, args.hidden, out, [](float x) { return x; });
  }
}

}  // namespace

void Embedding(const EmbeddingArgs& args, Stream& stream) {
  stream.pool().ParallelFor(args.rows, 4, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      LookUp(args, args.tokens[row], args.out + row * args.hidden);
    }
  });
}

}  // namespace octet::kernels::cpu
