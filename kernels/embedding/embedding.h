// Token embedding from one rank's run of vocabulary rows, and learned positions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/device/stream.h"
#include "base/dtype.h"

namespace octet::kernels {

struct EmbeddingArgs {
  const std::byte* table = nullptr;  // [token_end - token_begin, hidden] of dtype
  DType dtype = DType::kBF16;        // bf16, f16 or f32
  int64_t token_begin = 0;           // tokens [token_begin, token_end) are held here
  int64_t token_end = 0;
  const int32_t* tokens = nullptr;  // [rows]
  float* out = nullptr;             // [rows, hidden] f32
  int64_t rows = 0;
  int64_t hidden = 0;
};
// out[r] = table[tokens[r]] + 0.0f where the token is held here, +0 elsewhere: so the ranks' sum
// has the bits of a single rank's result, negative zeros included.
void Embedding(const EmbeddingArgs& args, Stream& stream);

struct AddPositionsArgs {
  const std::byte* table = nullptr;  // [table_rows, hidden] of dtype, whole on every rank
  DType dtype = DType::kBF16;        // bf16, f16 or f32
  int64_t table_rows = 0;
  int64_t offset = 0;                  // position p has row p + offset
  const int32_t* positions = nullptr;  // [rows]. REQUIRES: each + offset is in [0, table_rows)
  float* x = nullptr;                  // [rows, hidden] f32, in and out
  int64_t rows = 0;
  int64_t hidden = 0;
};
// x[r] += table[positions[r] + offset]
void AddPositions(const AddPositionsArgs& args, Stream& stream);

namespace cpu {
void Embedding(const EmbeddingArgs& args, Stream& stream);
void AddPositions(const AddPositionsArgs& args, Stream& stream);
}  // namespace cpu
namespace cuda {
OCTET_CUDA_OP void Embedding(const EmbeddingArgs& args, Stream& stream);
OCTET_CUDA_OP void AddPositions(const AddPositionsArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::kernels
