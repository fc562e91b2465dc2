// The linear with bf16 activations over int4 weights for few rows of regular shapes: the tiles that
// linear16_plan.cc chooses from.
#include "kernels/linear/linear16_stream.cuh"

namespace octet::kernels::cuda {

void LaunchLinear16StreamInt4(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  constexpr WeightFormat kInt4 = WeightFormat::kInt4;
  switch (plan.tile.name) {
    case Linear16TileName::kStream8:
      return LaunchLinear16Stream<StreamTile<kInt4, 1, 16, 0, 1>>(plan, k, stream);
    case Linear16TileName::kStream16:
      return LaunchLinear16Stream<StreamTile<kInt4, 2, 12, 2, 1>>(plan, k, stream);
    case Linear16TileName::kStream8Sides:
      return LaunchLinear16Stream<StreamTile<kInt4, 1, 10, 0, 2>>(plan, k, stream);
    case Linear16TileName::kStream16Sides:
      return LaunchLinear16Stream<StreamTile<kInt4, 2, 8, 2, 2>>(plan, k, stream);
    default:
      OCTET_CHECK_EQ(static_cast<int>(plan.tile.name), -1);  // not one of them
  }
}

}  // namespace octet::kernels::cuda
