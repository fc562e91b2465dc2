// The same as linear16_one_tile.cu of the tiles for many rows, which take longest to build.
#include "base/check.h"
#include "kernels/linear/linear16_wide.cuh"

namespace octet::kernels::cuda {

void LaunchLinear16WideInt4(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  OCTET_CHECK(plan.tile.name == Linear16TileName::kWide128 && !k.asymmetric);
  LaunchLinear16Wide<WideTile<WeightFormat::kInt4, 2, 128, 5, 2, false, false>>(plan, k, stream);
}

}  // namespace octet::kernels::cuda
