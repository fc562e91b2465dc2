// The kernels of one small tile of each kind and nothing else: quick to build again and again, with
// bugs planted by OCTET_PLANTED_BUG.
#include "kernels/linear/linear16_few.cuh"
#include "kernels/linear/linear16_mma.cuh"
#include "kernels/linear/linear16_stream.cuh"
#include "kernels/linear/linear16_wgmma.cuh"

namespace octet::kernels::cuda {

void LaunchLinear16MmaInt4(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  LaunchLinear16Mma<MmaTile<WeightFormat::kInt4, 4, 1, 1, 1, 6>>(plan, k, stream);
}

void LaunchLinear16WgmmaInt4(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  LaunchLinear16Wgmma<WgmmaTile<WeightFormat::kInt4, 2, 2, 32, 6>>(plan, k, stream);
}

void LaunchLinear16FewInt4(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  if (plan.few.whole) {
    LaunchLinear16Few<FewTile<WeightFormat::kInt4, 1, 16, true>>(plan, k, stream);
  } else {
    LaunchLinear16Few<FewTile<WeightFormat::kInt4, 1, 8, false>>(plan, k, stream);
  }
}

void LaunchLinear16StreamInt4(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  LaunchLinear16Stream<StreamTile<WeightFormat::kInt4, 1, 16, 0, 1>>(plan, k, stream);
}

}  // namespace octet::kernels::cuda
