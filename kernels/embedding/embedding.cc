#include "kernels/embedding/embedding.h"

#include "kernels/dispatch.h"

namespace octet::kernels {

void Embedding(const EmbeddingArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GT(args.hidden, 0);
  OCTET_CHECK_LE(args.token_begin, args.token_end);
  OCTET_CHECK(args.dtype == DType::kBF16 || args.dtype == DType::kF16 || args.dtype == DType::kF32);
  if (args.rows == 0) return;
  OCTET_CHECK(args.tokens != nullptr && args.out != nullptr);
  OCTET_CHECK(args.table != nullptr || args.token_begin == args.token_end);
  Dispatch(cpu::Embedding, cuda::Embedding, args, stream);
}

void AddPositions(const AddPositionsArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GT(args.hidden, 0);
  OCTET_CHECK(args.offset >= 0 && args.offset < args.table_rows);
  OCTET_CHECK(args.dtype == DType::kBF16 || args.dtype == DType::kF16 || args.dtype == DType::kF32);
  if (args.rows == 0) return;
  OCTET_CHECK(args.table != nullptr && args.positions != nullptr && args.x != nullptr);
  Dispatch(cpu::AddPositions, cuda::AddPositions, args, stream);
}

}  // namespace octet::kernels
