#include "kernels/rope/rope.h"

#include "kernels/dispatch.h"

namespace octet::kernels {

void RopeAngles(const RopeAnglesArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GT(args.rotary_dim, 0);
  OCTET_CHECK_EQ(args.rotary_dim % 2, 0);
  if (args.rows == 0) return;
  OCTET_CHECK(args.positions != nullptr && args.inverse_frequency != nullptr);
  OCTET_CHECK(args.cos != nullptr && args.sin != nullptr);
  Dispatch(cpu::RopeAngles, cuda::RopeAngles, args, stream);
}

void Rope(const RopeArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GE(args.heads, 0);
  OCTET_CHECK_GT(args.rotary_dim, 0);
  OCTET_CHECK_EQ(args.rotary_dim % 2, 0);
  OCTET_CHECK_LE(args.rotary_dim, args.head_dim);
  if (args.rows == 0 || args.heads == 0) return;
  OCTET_CHECK_GE(args.x_stride, args.heads * args.head_dim);
  OCTET_CHECK(args.x != nullptr && args.cos != nullptr && args.sin != nullptr);
  Dispatch(cpu::Rope, cuda::Rope, args, stream);
}

}  // namespace octet::kernels
