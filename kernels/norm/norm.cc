#include "kernels/norm/norm.h"

#include "kernels/dispatch.h"
#include "kernels/linear/activation_check.h"

namespace octet::kernels {

void Norm(const NormArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GT(args.hidden, 0);
  if (args.rows == 0) return;
  OCTET_CHECK(args.x != nullptr && args.weight != nullptr);
  OCTET_CHECK(args.bias == nullptr || args.centered);
  CheckResults(args.y, args.out, args.rows, args.hidden, stream);
  Dispatch(cpu::Norm, cuda::Norm, args, stream);
}

void AddNorm(const AddNormArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GT(args.hidden, 0);
  if (args.rows == 0) return;
  OCTET_CHECK(args.residual != nullptr && args.delta != nullptr && args.weight != nullptr);
  OCTET_CHECK(args.y != args.residual);
  OCTET_CHECK(args.bias == nullptr || args.centered);
  CheckResults(args.y, args.out, args.rows, args.hidden, stream);
  Dispatch(cpu::AddNorm, cuda::AddNorm, args, stream);
}

}  // namespace octet::kernels
