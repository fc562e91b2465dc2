// Attention on a device: to the kernels of the cache's format.
#include "kernels/attention/attention_kernel.cuh"

namespace octet::kernels::cuda {

void Attention(const AttentionArgs& args, Stream& stream) {
  switch (args.layout.format) {
    case KvFormat::kInt8:
      return LaunchInt8Attention(args, stream);
    case KvFormat::kInt4:
      return LaunchInt4Attention(args, stream);
    case KvFormat::kBF16:
      return LaunchBF16Attention(args, stream);
  }
}

}  // namespace octet::kernels::cuda
