// Decode attention over int8 keys and values of 128 on sm_90.
#include "kernels/attention/attention_narrow_boxes.cuh"

namespace octet::kernels {

void LaunchNarrowBoxes(const AttentionArgs& args, Stream& stream) {
  LaunchBoxes<KvShape<KvFormat::kInt8, 128>>(args, stream);
}

}  // namespace octet::kernels
