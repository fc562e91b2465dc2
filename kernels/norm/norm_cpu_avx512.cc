#include "kernels/norm/norm_isa.h"
#include "kernels/norm/norm_lanes.h"

namespace octet::kernels {

const NormBody kAvx512Norm = kBody;

}  // namespace octet::kernels
