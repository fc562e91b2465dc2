// The linear with bf16 activations over int4 and int8 weights for many rows: the tiles that
// linear16_plan.cc chooses from. One block fills the shared memory of a multiprocessor.
#include "kernels/linear/linear16_wide.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr WeightFormat kInt4 = WeightFormat::kInt4;
constexpr WeightFormat kInt8 = WeightFormat::kInt8;

template <typename Symmetric, typename Asymmetric>
void LaunchEither(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  if (k.asymmetric) return LaunchLinear16Wide<Asymmetric>(plan, k, stream);
  LaunchLinear16Wide<Symmetric>(plan, k, stream);
}

}  // namespace

void LaunchLinear16WideInt4(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  if (plan.tile.name == Linear16TileName::kWide64) {
    return LaunchEither<WideTile<kInt4, 64, 10, 9, true, false>,
                        WideTile<kInt4, 64, 10, 9, true, true>>(plan, k, stream);
  }
  OCTET_CHECK(plan.tile.name == Linear16TileName::kWide128);
  LaunchEither<WideTile<kInt4, 128, 5, 2, false, false>, WideTile<kInt4, 128, 4, 3, false, true>>(
      plan, k, stream);
}
void LaunchLinear16WideInt8(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  OCTET_CHECK(plan.tile.name == Linear16TileName::kWide64);  // 128 tokens would spill
  LaunchEither<WideTile<kInt8, 64, 8, 5, true, false>, WideTile<kInt8, 64, 8, 5, true, true>>(
      plan, k, stream);
}

}  // namespace octet::kernels::cuda
