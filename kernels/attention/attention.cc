#include "kernels/attention/attention.h"

#include "kernels/dispatch.h"

namespace octet::kernels {

void Attention(const AttentionArgs& args, Stream& stream) {
  int64_t rows = 0;
  for (const AttentionSequence& sequence : args.sequences) {
    OCTET_CHECK_GE(sequence.row_count, 0);
    OCTET_CHECK_GE(sequence.first_position, 0);
    OCTET_CHECK(sequence.block_table != nullptr || sequence.row_count == 0);
    rows += sequence.row_count;
  }
  if (rows == 0 || args.groups.empty()) return;
  OCTET_CHECK_GT(args.layout.head_dim, 0);
  OCTET_CHECK(KvFormatHolds(args.layout.format, args.layout.head_dim));
  OCTET_CHECK_GE(args.window, 0);
  OCTET_CHECK(args.cache != nullptr && args.q != nullptr && args.out != nullptr);
  OCTET_CHECK(args.workspace != nullptr);
  int64_t heads = 0;
  for (const HeadGroup& group : args.groups) {
    OCTET_CHECK_GE(group.kv_head, 0);
    OCTET_CHECK_LT(group.kv_head, args.layout.kv_heads);
    OCTET_CHECK_EQ(group.head_begin, heads);
    OCTET_CHECK_GT(group.head_count, 0);
    heads += group.head_count;
  }
  OCTET_CHECK_GE(args.q_stride, heads * args.layout.head_dim);
  OCTET_CHECK_GE(args.out_stride, heads * args.layout.head_dim);
  Dispatch(cpu::Attention, cuda::Attention, args, stream);
}

}  // namespace octet::kernels
