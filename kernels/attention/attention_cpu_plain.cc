#include "kernels/attention/attention_lanes.h"

namespace octet::kernels {

const AttentionBody kPlainAttention = kBody;

}  // namespace octet::kernels
