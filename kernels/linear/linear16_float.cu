// The linear with bf16 activations over bf16, f16 and f32 weights with mma.sync: the tiles that
// linear16_plan.cc chooses from.
#include "kernels/linear/linear16_mma.cuh"

namespace octet::kernels::cuda {
namespace {

template <WeightFormat kFormat>
void Launch(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  if (plan.tile.name == Linear16TileName::k64x8) {
    return LaunchLinear16Mma<MmaTile<kFormat, 4, 1, 1, 1, 4>>(plan, k, stream);
  }
  if constexpr (kFormat != WeightFormat::kF32) {
    if (plan.tile.name == Linear16TileName::k64x32) {
      return LaunchLinear16Mma<MmaTile<kFormat, 4, 1, 1, 4, 4>>(plan, k, stream);
    }
  }
  OCTET_CHECK_EQ(static_cast<int>(plan.tile.name), -1);  // not one of this format's
}

}  // namespace

void LaunchLinear16MmaFloat(WeightFormat format, const Linear16Plan& plan, const Linear16Kernel& k,
                            Stream& stream) {
  if (format == WeightFormat::kBF16) return Launch<WeightFormat::kBF16>(plan, k, stream);
  if (format == WeightFormat::kF16) return Launch<WeightFormat::kF16>(plan, k, stream);
  Launch<WeightFormat::kF32>(plan, k, stream);
}

}  // namespace octet::kernels::cuda
