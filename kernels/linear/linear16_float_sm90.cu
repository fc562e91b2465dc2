// The linear with bf16 activations over bf16, f16 and f32 weights with wgmma: the tiles that
// linear16_plan.cc chooses from.
#include "kernels/linear/linear16_wgmma.cuh"

namespace octet::kernels::cuda {
namespace {

template <WeightFormat kFormat>
void Launch(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  if (plan.tile.name == Linear16TileName::k64x8) {
    return LaunchLinear16Wgmma<WgmmaTile<kFormat, 1, 1, 8, 5>>(plan, k, stream);
  }
  if constexpr (kFormat != WeightFormat::kF32) {
    if (plan.tile.name == Linear16TileName::k64x32) {
      return LaunchLinear16Wgmma<WgmmaTile<kFormat, 1, 1, 32, 5>>(plan, k, stream);
    }
  }
  if constexpr (kFormat == WeightFormat::kBF16) {
    if (plan.tile.name == Linear16TileName::k256x128) {
      return LaunchLinear16Wgmma<WgmmaTile<kFormat, 2, 2, 128, 4>>(plan, k, stream);
    }
  }
  OCTET_CHECK_EQ(static_cast<int>(plan.tile.name), -1);  // not one of this format's
}

}  // namespace

void LaunchLinear16WgmmaFloat(WeightFormat format, const Linear16Plan& plan,
                              const Linear16Kernel& k, Stream& stream) {
  if (format == WeightFormat::kBF16) return Launch<WeightFormat::kBF16>(plan, k, stream);
  if (format == WeightFormat::kF16) return Launch<WeightFormat::kF16>(plan, k, stream);
  Launch<WeightFormat::kF32>(plan, k, stream);
}

}  // namespace octet::kernels::cuda
