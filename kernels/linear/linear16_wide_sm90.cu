// The linear with bf16 activations over int4 and int8 weights for many rows: the tiles that
// linear16_plan.cc chooses from. One block fills the shared memory of a multiprocessor.
#include "kernels/linear/linear16_wide.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr WeightFormat kInt4 = WeightFormat::kInt4;
constexpr WeightFormat kInt8 = WeightFormat::kInt8;

// The shape of a tile (linear16_wide_ring.cuh) that has symmetric and asymmetric weights alike.
template <WeightFormat kFormat, int kGroups, int kTokens, int kHalves, int kBlocks, bool kTurns>
void LaunchEither(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  if (k.asymmetric) {
    LaunchLinear16Wide<WideTile<kFormat, kGroups, kTokens, kHalves, kBlocks, kTurns, true>>(plan, k,
                                                                                            stream);
  } else {
    LaunchLinear16Wide<WideTile<kFormat, kGroups, kTokens, kHalves, kBlocks, kTurns, false>>(
        plan, k, stream);
  }
}

}  // namespace

void LaunchLinear16WideInt4(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  const bool three_groups = plan.tile.outputs == 192;
  switch (plan.tile.name) {
    case Linear16TileName::kWide16:
      if (k.asymmetric) {  // nine stages do not fit
        return LaunchLinear16Wide<WideTile<kInt4, 4, 16, 16, 8, false, true>>(plan, k, stream);
      }
      return LaunchLinear16Wide<WideTile<kInt4, 4, 16, 18, 9, false, false>>(plan, k, stream);
    case Linear16TileName::kWide32:
      if (three_groups) return LaunchEither<kInt4, 3, 32, 16, 8, false>(plan, k, stream);
      return LaunchEither<kInt4, 4, 32, 12, 6, false>(plan, k, stream);
    case Linear16TileName::kWide64:
      if (three_groups) return LaunchEither<kInt4, 3, 64, 8, 4, false>(plan, k, stream);
      return LaunchEither<kInt4, 2, 64, 12, 6, true>(plan, k, stream);
    default:
      OCTET_CHECK(plan.tile.name == Linear16TileName::kWide128);
  }
  if (k.asymmetric) {
    LaunchLinear16Wide<WideTile<kInt4, 2, 128, 4, 3, false, true>>(plan, k, stream);
  } else {
    LaunchLinear16Wide<WideTile<kInt4, 2, 128, 5, 2, false, false>>(plan, k, stream);
  }
}
void LaunchLinear16WideInt8(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  OCTET_CHECK(plan.tile.name == Linear16TileName::kWide64);  // 128 tokens would spill
  LaunchEither<kInt8, 2, 64, 8, 4, true>(plan, k, stream);
}

}  // namespace octet::kernels::cuda
