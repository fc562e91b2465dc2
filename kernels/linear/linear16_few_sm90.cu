// The linear with bf16 activations over int4 and int8 weights for few rows: the tiles that
// linear16_plan.cc chooses from.
#include "kernels/linear/linear16_few.cuh"

namespace octet::kernels::cuda {
namespace {

template <WeightFormat kFormat, int kTiles, int kWarps>
void LaunchEither(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  if (plan.few.whole) {
    LaunchLinear16Few<FewTile<kFormat, kTiles, kWarps, true>>(plan, k, stream);
  } else {
    LaunchLinear16Few<FewTile<kFormat, kTiles, FewWarpsMax(kWarps, false), false>>(plan, k, stream);
  }
}

}  // namespace

void LaunchLinear16FewInt4(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  switch (plan.tile.name) {
    case Linear16TileName::kFew8:
      return LaunchEither<WeightFormat::kInt4, 1, 16>(plan, k, stream);
    case Linear16TileName::kFew16:
      return LaunchEither<WeightFormat::kInt4, 2, 12>(plan, k, stream);
    default:
      OCTET_CHECK_EQ(static_cast<int>(plan.tile.name), -1);  // not one of this format's
  }
}
void LaunchLinear16FewInt8(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  switch (plan.tile.name) {
    case Linear16TileName::kFew8:
      return LaunchEither<WeightFormat::kInt8, 1, 12>(plan, k, stream);
    case Linear16TileName::kFew16:
      return LaunchEither<WeightFormat::kInt8, 2, 8>(plan, k, stream);
    default:
      OCTET_CHECK_EQ(static_cast<int>(plan.tile.name), -1);  // not one of this format's
  }
}

}  // namespace octet::kernels::cuda
