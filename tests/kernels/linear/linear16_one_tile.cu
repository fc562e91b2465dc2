// The kernels of one small tile of each family and nothing else: quick to build again and again,
// with bugs planted by OCTET_PLANTED_BUG.
#include "kernels/linear/linear16_mma.cuh"
#include "kernels/linear/linear16_wgmma.cuh"

namespace octet::kernels::cuda {

void LaunchLinear16MmaInt4(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  LaunchLinear16Mma<MmaTile<WeightFormat::kInt4, 4, 1, 1, 1, 6>>(plan, k, stream);
}

void LaunchLinear16WgmmaInt4(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  LaunchLinear16Wgmma<WgmmaTile<WeightFormat::kInt4, 1, 1, 8, 8>>(plan, k, stream);
}

}  // namespace octet::kernels::cuda
