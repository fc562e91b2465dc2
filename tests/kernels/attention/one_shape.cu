// The device's attention for one shape, in place of all: quickly compiled, with a bug planted.
#include "kernels/attention/attention_kernel.cuh"

namespace octet::kernels::cuda {

void Attention(const AttentionArgs& args, Stream& stream) {
  LaunchAttention<KvShape<KvFormat::kInt8, 32>>(args, stream);
}

}  // namespace octet::kernels::cuda
