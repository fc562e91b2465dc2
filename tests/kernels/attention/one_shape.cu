// The device's attention for one shape, in place of all: quickly compiled, with a bug planted.
#include "kernels/attention/attention_narrow_boxes.cuh"

namespace octet::kernels {

using OneShape = KvShape<KvFormat::kInt8, 128>;

void LaunchNarrowBoxes(const AttentionArgs& args, Stream& stream) {
  LaunchBoxes<OneShape>(args, stream);
}

namespace cuda {

void Attention(const AttentionArgs& args, Stream& stream) {
  LaunchAttention<OneShape>(args, stream);
}

}  // namespace cuda
}  // namespace octet::kernels
