// The linear with int8 activations for sm_80 and later: the tiles that linear8_plan.cc chooses
// from.
#include "kernels/linear/linear8_mma.cuh"

#include "kernels/linear/linear8.h"

namespace octet::kernels::cuda {
namespace {

using Tiling8 = Linear8MmaTiling<8, 4, 1, 1, 6, 6>;
using Tiling16 = Linear8MmaTiling<16, 4, 1, 1, 6, 4>;
using Tiling32 = Linear8MmaTiling<32, 4, 2, 1, 4, 3>;
using Tiling64 = Linear8MmaTiling<64, 8, 2, 1, 3, 1>;
using Tiling128 = Linear8MmaTiling<128, 4, 2, 2, 3, 1>;
// For devices with less shared memory (sm_89: 99 KB).
using Tiling64Narrow = Linear8MmaTiling<64, 8, 2, 1, 2, 1>;
using Tiling128Narrow = Linear8MmaTiling<128, 4, 2, 2, 2, 1>;

template <typename T, typename Narrow, bool kInt4, bool kAsymmetric>
void LaunchFitting(Linear8Params& p, const Linear8Plan& plan, Stream& stream) {
  p.shared_slots = 0;
  if (Linear8MmaSharedPlan<T, kAsymmetric>(p).bytes() <= stream.info().shared_bytes_per_block) {
    return LaunchLinear8Mma<T, kInt4, kAsymmetric>(p, plan, stream);
  }
  LaunchLinear8Mma<Narrow, kInt4, kAsymmetric>(p, plan, stream);
}

template <bool kInt4, bool kAsymmetric>
void LaunchMma(Linear8Params& p, const Linear8Plan& plan, Stream& stream) {
  switch (plan.tile_tokens) {
    case 8:
      return LaunchLinear8Mma<Tiling8, kInt4, kAsymmetric>(p, plan, stream);
    case 16:
      return LaunchLinear8Mma<Tiling16, kInt4, kAsymmetric>(p, plan, stream);
    case 32:
      return LaunchLinear8Mma<Tiling32, kInt4, kAsymmetric>(p, plan, stream);
    case 64:
      return LaunchFitting<Tiling64, Tiling64Narrow, kInt4, kAsymmetric>(p, plan, stream);
    default:
      return LaunchFitting<Tiling128, Tiling128Narrow, kInt4, kAsymmetric>(p, plan, stream);
  }
}

}  // namespace

void Linear8Mma(Linear8Params& params, const Linear8Plan& plan, bool int4, bool asymmetric,
                Stream& stream) {
  if (int4) {
    asymmetric ? LaunchMma<true, true>(params, plan, stream)
               : LaunchMma<true, false>(params, plan, stream);
  } else {
    asymmetric ? LaunchMma<false, true>(params, plan, stream)
               : LaunchMma<false, false>(params, plan, stream);
  }
}

}  // namespace octet::kernels::cuda
