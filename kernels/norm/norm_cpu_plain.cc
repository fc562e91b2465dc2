#include "kernels/norm/norm_isa.h"
#include "kernels/norm/norm_lanes.h"

namespace octet::kernels {

const NormBody kPlainNorm = kBody;

}  // namespace octet::kernels
