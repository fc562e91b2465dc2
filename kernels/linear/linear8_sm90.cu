// The linear with int8 activations for sm_90a and many rows: the tiles that linear8_plan.cc chooses
// from.
#include "kernels/linear/linear8.h"
#include "kernels/linear/linear8_wgmma.cuh"

namespace octet::kernels::cuda {
namespace {

using Tiling32 = Linear8Tiling<32, 4, 104>;
using Tiling64 = Linear8Tiling<64, 3, 152>;
using Tiling128 = Linear8Tiling<128, 2, 232>;

}  // namespace

void Linear8Sm90(Linear8Params& params, const Linear8Plan& plan, bool int4, bool asymmetric,
                 Stream& stream) {
  const auto launch_pairs = [&]<typename T, bool kPairs>() {
    if (int4) {
      asymmetric ? LaunchLinear8Wgmma<T, true, true, kPairs>(params, plan, stream)
                 : LaunchLinear8Wgmma<T, true, false, kPairs>(params, plan, stream);
    } else {
      asymmetric ? LaunchLinear8Wgmma<T, false, true, kPairs>(params, plan, stream)
                 : LaunchLinear8Wgmma<T, false, false, kPairs>(params, plan, stream);
    }
  };
  const auto launch = [&]<typename T>(T) {
    plan.pairs ? launch_pairs.template operator()<T, true>()
               : launch_pairs.template operator()<T, false>();
  };
  switch (plan.tile_tokens) {
    case 32:
      return launch(Tiling32());
    case 64:
      return launch(Tiling64());
    default:
      return launch(Tiling128());
  }
}

}  // namespace octet::kernels::cuda
