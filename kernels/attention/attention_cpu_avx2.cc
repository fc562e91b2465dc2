#include "kernels/attention/attention_lanes.h"

namespace octet::kernels {

const AttentionBody kAvx2Attention = kBody;

}  // namespace octet::kernels
