#include "kernels/activation/activation.h"

#include "kernels/dispatch.h"
#include "kernels/linear/activation_check.h"

namespace octet::kernels {

void SiluMul(const SiluMulArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GE(args.width, 0);
  if (args.rows == 0 || args.width == 0) return;
  OCTET_CHECK(args.gate_up != nullptr);
  CheckResults(args.y, args.out, args.rows, args.width, stream);
  Dispatch(cpu::SiluMul, cuda::SiluMul, args, stream);
}

void Relu(const ReluArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GE(args.width, 0);
  if (args.rows == 0 || args.width == 0) return;
  OCTET_CHECK(args.x != nullptr);
  CheckResults(args.y, args.out, args.rows, args.width, stream);
  Dispatch(cpu::Relu, cuda::Relu, args, stream);
}

}  // namespace octet::kernels
