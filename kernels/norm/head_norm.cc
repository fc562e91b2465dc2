#include "kernels/norm/head_norm.h"

#include "base/check.h"
#include "kernels/dispatch.h"

namespace octet::kernels {

void HeadNorm(const HeadNormArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GE(args.heads, 0);
  OCTET_CHECK_GE(args.kv_heads, 0);
  if (args.rows == 0 || args.heads + args.kv_heads == 0) return;
  OCTET_CHECK_GT(args.head_dim, 0);
  OCTET_CHECK_GE(args.x_stride, (args.heads + args.kv_heads) * args.head_dim);
  OCTET_CHECK(args.x != nullptr && args.q_weight != nullptr && args.k_weight != nullptr);
  Dispatch(cpu::HeadNorm, cuda::HeadNorm, args, stream);
}

}  // namespace octet::kernels
