// Attention on a device over int4 keys and values.
#include "kernels/attention/attention_kernel.cuh"

namespace octet::kernels {

void LaunchInt4Attention(const AttentionArgs& args, Stream& stream) {
  const bool has_kernel = WithDim<KvFormat::kInt4>(
      args.layout.head_dim, [&](auto shape) { LaunchAttention<decltype(shape)>(args, stream); });
  OCTET_CHECK(has_kernel);
}

}  // namespace octet::kernels
