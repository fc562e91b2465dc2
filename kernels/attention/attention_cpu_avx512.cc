#include "kernels/attention/attention_lanes.h"

namespace octet::kernels {

const AttentionBody kAvx512Attention = kBody;

}  // namespace octet::kernels
