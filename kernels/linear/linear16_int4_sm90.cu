// The linear with bf16 activations over int4 weights with wgmma: the tiles that linear16_plan.cc
// chooses from.
#include "kernels/linear/linear16_wgmma.cuh"

namespace octet::kernels::cuda {

void LaunchLinear16WgmmaInt4(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  switch (plan.tile.name) {
    case Linear16TileName::k256x32:
      return LaunchLinear16Wgmma<WgmmaTile<WeightFormat::kInt4, 2, 2, 32, 6>>(plan, k, stream);
    case Linear16TileName::k256x64:
      return LaunchLinear16Wgmma<WgmmaTile<WeightFormat::kInt4, 2, 2, 64, 5>>(plan, k, stream);
    default:
      OCTET_CHECK_EQ(static_cast<int>(plan.tile.name), -1);  // not one of this format's
  }
}

}  // namespace octet::kernels::cuda
