#include "kernels/norm/norm.h"

#include "base/ordered_sum.h"
#include "kernels/dispatch.h"
#include "kernels/linear/activation_check.h"
#include "kernels/norm/sum_norm.h"

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

namespace {

void CheckAddNorm(const AddNormArgs& args, const float* added, Stream& stream) {
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GT(args.hidden, 0);
  if (args.rows == 0) return;
  OCTET_CHECK(args.residual != nullptr && added != nullptr && args.weight != nullptr);
  OCTET_CHECK(args.y != args.residual);
  OCTET_CHECK(args.bias == nullptr || args.centered);
  CheckResults(args.y, args.out, args.rows, args.hidden, stream);
}

}  // namespace

void AddNorm(const AddNormArgs& args, Stream& stream) {
  CheckAddNorm(args, args.delta, stream);
  if (args.rows == 0) return;
  Dispatch(cpu::AddNorm, cuda::AddNorm, args, stream);
}

void SumAddNorm(const SumAddNormArgs& args, Stream& stream) {
  CheckAddNorm(args.norm, args.roots, stream);
  const auto roots = static_cast<int64_t>(args.tree->merges.size());
  OCTET_CHECK(roots >= 1 && roots <= kRootsMax);
  if (args.norm.rows == 0) return;
  Dispatch(cpu::SumAddNorm, cuda::SumAddNorm, args, stream);
}

}  // namespace octet::kernels
