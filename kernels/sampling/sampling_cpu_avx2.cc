#include "kernels/sampling/sampling_lanes.h"

namespace octet::kernels {

const SamplingBody kAvx2Sampling = kBody;

}  // namespace octet::kernels
