// The linear with int8 activations for few rows: the tiles that linear8_plan.cc chooses from.
#include "base/check.h"
#include "kernels/linear/linear8_few.cuh"

namespace octet::kernels::cuda {
namespace {

template <bool kInt4, bool kAsymmetric>
void LaunchRows(Linear8Params& p, const Linear8Plan& plan, Stream& stream) {
  if (plan.tile_tokens == 8) {
    return LaunchFew8<Few8Tile<1, 16, kInt4, kAsymmetric>>(p, plan, stream);
  }
  LaunchFew8<Few8Tile<2, 12, kInt4, kAsymmetric>>(p, plan, stream);
}

}  // namespace

void Linear8FewSm90(Linear8Params& params, const Linear8Plan& plan, bool int4, bool asymmetric,
                    Stream& stream) {
  if (int4) {
    asymmetric ? LaunchRows<true, true>(params, plan, stream)
               : LaunchRows<true, false>(params, plan, stream);
  } else {
    asymmetric ? LaunchRows<false, true>(params, plan, stream)
               : LaunchRows<false, false>(params, plan, stream);
  }
}

}  // namespace octet::kernels::cuda
