#include "kernels/attention/attention_lanes.h"
#include "kernels/linear/panel.h"  // ReleaseTiles

namespace octet::kernels {

const AttentionBody kAmxAttention = {kBody.prepare, kBody.attend, kBody.merge, kBody.write,
                                     ReleaseTiles};

}  // namespace octet::kernels
