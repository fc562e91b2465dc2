#include "kernels/activation/activation_isa.h"
#include "kernels/activation/activation_lanes.h"

namespace octet::kernels {

const ActivationBody kAvx512Activation = kBody;

}  // namespace octet::kernels
