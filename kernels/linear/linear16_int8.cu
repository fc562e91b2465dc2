// The linear with bf16 activations over int8 weights with mma.sync: the tiles that linear16_plan.cc
// chooses from.
#include "kernels/linear/linear16_mma.cuh"

namespace octet::kernels::cuda {

void LaunchLinear16MmaInt8(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  switch (plan.tile.name) {
    case Linear16TileName::k64x8:
      return LaunchLinear16Mma<MmaTile<WeightFormat::kInt8, 4, 1, 1, 1, 6>>(plan, k, stream);
    case Linear16TileName::k128x32:
      return LaunchLinear16Mma<MmaTile<WeightFormat::kInt8, 4, 1, 2, 4, 4>>(plan, k, stream);
    default:
      OCTET_CHECK_EQ(static_cast<int>(plan.tile.name), -1);  // not one of this format's
  }
}

}  // namespace octet::kernels::cuda
