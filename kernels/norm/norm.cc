#include "kernels/norm/norm.h"

#include "kernels/dispatch.h"
#include "kernels/linear/activation_check.h"

namespace octet::kernels {

void RmsNorm(const RmsNormArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GT(args.hidden, 0);
  if (args.rows == 0) return;
  OCTET_CHECK(args.x != nullptr && args.weight != nullptr);
  CheckResults(args.y, args.out, args.rows, args.hidden, stream);
  Dispatch(cpu::RmsNorm, cuda::RmsNorm, args, stream);
}

void AddRmsNorm(const AddRmsNormArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GT(args.hidden, 0);
  if (args.rows == 0) return;
  OCTET_CHECK(args.residual != nullptr && args.delta != nullptr && args.weight != nullptr);
  OCTET_CHECK(args.y != args.residual);
  CheckResults(args.y, args.out, args.rows, args.hidden, stream);
  Dispatch(cpu::AddRmsNorm, cuda::AddRmsNorm, args, stream);
}

}  // namespace octet::kernels
