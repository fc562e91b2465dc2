// Attention on a device over bf16 keys and values.
#include "kernels/attention/attention_kernel.cuh"

namespace octet::kernels {

void LaunchBF16Attention(const AttentionArgs& args, Stream& stream) {
  const bool has_kernel = WithDim<KvFormat::kBF16>(
      args.layout.head_dim, [&](auto shape) { LaunchAttention<decltype(shape)>(args, stream); });
  OCTET_CHECK(has_kernel);
}

}  // namespace octet::kernels
