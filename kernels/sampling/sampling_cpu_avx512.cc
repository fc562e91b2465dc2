#include "kernels/sampling/sampling_lanes.h"

namespace octet::kernels {

const SamplingBody kAvx512Sampling = kBody;

}  // namespace octet::kernels
