#include "kernels/attention/attention.h"

#include "kernels/dispatch.h"

namespace octet::kernels {

namespace {

// What the host knows of a step on a device: the rows come with the plan.
void CheckDevice(const AttentionArgs& args) {
  OCTET_CHECK(static_cast<bool>(args.plan) && args.plan.bytes != nullptr);
  OCTET_CHECK(args.layout.order == KvOrder::kRows);
  OCTET_CHECK_EQ(args.plan.head_dim, args.layout.head_dim);
  OCTET_CHECK(args.block_tables != nullptr);
  const int64_t stride = args.y.empty() ? args.out_stride : args.y.stride;
  OCTET_CHECK(args.y.empty() ? args.out != nullptr : args.y.format != ActivationFormat::kInt8);
  // Rows are read and written in runs of 16 bytes.
  OCTET_CHECK_EQ(args.q_stride % 4, 0);
  OCTET_CHECK_EQ(stride % 4, 0);
}

void CheckHost(const AttentionArgs& args) {
  OCTET_CHECK(args.y.empty());
  OCTET_CHECK(args.out != nullptr);
  int64_t heads = 0;
  for (const HeadGroup& group : args.groups) {
    OCTET_CHECK_GE(group.kv_head, 0);
    OCTET_CHECK_LT(group.kv_head, args.layout.kv_heads);
    OCTET_CHECK_EQ(group.head_begin, heads);
    OCTET_CHECK_GT(group.head_count, 0);
    heads += group.head_count;
  }
  if (args.layout.format == KvFormat::kInt8) {
    OCTET_CHECK_LE(args.layout.head_dim, kKvInt8DimMax);
    OCTET_CHECK(args.layout.order == KvOrder::kFours);
  }
  OCTET_CHECK_GE(args.q_stride, heads * args.layout.head_dim);
  OCTET_CHECK_GE(args.out_stride, heads * args.layout.head_dim);
}

bool NothingToDo(const AttentionArgs& args) {
  int64_t rows = 0;
  for (const AttentionSequence& sequence : args.sequences) {
    OCTET_CHECK_GE(sequence.row_count, 0);
    OCTET_CHECK_GE(sequence.first_position, 0);
    OCTET_CHECK(sequence.block_table != nullptr || sequence.row_count == 0);
    rows += sequence.row_count;
  }
  return rows == 0 || args.groups.empty();
}

}  // namespace

void Attention(const AttentionArgs& args, Stream& stream) {
  const bool on_device = stream.device() == Device::kCuda;
  if (on_device ? args.plan.groups == 0 : NothingToDo(args)) return;
  OCTET_CHECK_GT(args.layout.head_dim, 0);
  OCTET_CHECK(KvFormatHolds(args.layout.format, args.layout.head_dim));
  OCTET_CHECK_GE(args.window, 0);
  OCTET_CHECK(args.cache != nullptr && args.q != nullptr && args.workspace != nullptr);
  if (on_device) {
    CheckDevice(args);
  } else {
    CheckHost(args);
  }
  Dispatch(cpu::Attention, cuda::Attention, args, stream);
}

}  // namespace octet::kernels
