#include "kernels/activation/activation_isa.h"
#include "kernels/activation/activation_lanes.h"

namespace octet::kernels {

const ActivationBody kPlainActivation = kBody;

}  // namespace octet::kernels
