// The kernels of one tile of each kind with int8 activations and nothing else: quick to build again
// and again, with bugs planted by OCTET_PLANTED_BUG.
#include "base/check.h"
#include "kernels/linear/linear8.h"
#include "kernels/linear/linear8_mma.cuh"
#include "kernels/linear/linear8_wgmma.cuh"

namespace octet::kernels::cuda {

void Linear8Mma(Linear8Params& params, const Linear8Plan& plan, bool int4, bool asymmetric,
                Stream& stream) {
  OCTET_CHECK(plan.tile_tokens == 8 && int4 && !asymmetric);
  LaunchLinear8Mma<Linear8MmaTiling<8, 4, 1, 1, 6, 6>, true, false>(params, plan, stream);
}

void Linear8Sm90(Linear8Params& params, const Linear8Plan& plan, bool int4, bool asymmetric,
                 Stream& stream) {
  OCTET_CHECK(plan.tile_tokens == 128 && plan.pairs && int4 && !asymmetric);
  LaunchLinear8Wgmma<Linear8Tiling<128, 2, 232>, true, false, true>(params, plan, stream);
}

}  // namespace octet::kernels::cuda
