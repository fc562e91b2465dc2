// Attention over a PagedContext on the device of the test: the cache, the tables and the plan are
// uploaded, nothing else differs from the CPU.
#pragma once

#include <vector>

#include "base/dtype.h"
#include "tests/kernels/attention/paged_context.h"
#include "tests/support/test_device.h"

namespace octet::kernels::test {

struct DeviceOptions {
  int64_t workers = 5;
  int64_t slots = 8;
  int64_t step_rows = 256;
  bool bf16 = false;         // output rows
  int64_t shared_bytes = 0;  // as if the device had no more for a block; 0: what it has
  // The cache is stale, and a kernel of the same step appends all tokens of sequence 0. Else all
  // were written before.
  bool appends = false;
};

class DeviceAttention {
 public:
  using Rows = PagedContext::Rows;

  explicit DeviceAttention(const PagedContext& context, const DeviceOptions& options = {})
      : DeviceAttention(context, options, context.Groups(), context.AllHeads()) {}
  DeviceAttention(const PagedContext& context, const DeviceOptions& options,
                  const std::vector<HeadGroup>& groups, const std::vector<int32_t>& head_source)
      : context_(context), options_(options), groups_(groups), head_source_(head_source) {
    Stream& stream = octet::test::TestGpu()->stream();
    const auto* bytes = reinterpret_cast<const uint8_t*>(context.cache().data());
    std::vector<uint8_t> cache(bytes, bytes + context.cache().bytes());
    if (options.appends) std::fill(cache.begin(), cache.end(), uint8_t{0x2c});
    cache_ = octet::test::ToDevice(cache, stream);
    std::vector<int32_t> tables;
    for (size_t s = 0; s < context.shape().lengths.size(); ++s) {
      offsets_.push_back(static_cast<int64_t>(tables.size()));
      tables.insert(tables.end(), context.table(s).begin(), context.table(s).end());
    }
    tables_ = octet::test::ToDevice(tables, stream);
    int64_t longest = 0;
    for (const int64_t length : context.shape().lengths) longest = std::max(longest, length);
    limits_ = {options.slots,   options.step_rows,        longest,
               options.workers, context.shape().head_dim, groups_};
    plan_ = SizeAttentionPlan(limits_);
    workspace_ = octet::test::ToDevice(
        std::vector<uint8_t>(static_cast<size_t>(plan_.workspace_bytes())), stream);
  }

  const AttentionDevicePlan& plan() const { return plan_; }

  // [rows of all runs, width of the heads]; bf16 rows are widened.
  std::vector<float> Attend(const std::vector<Rows>& runs) {
    DeviceInfo info = octet::test::TestGpu()->info();
    if (options_.shared_bytes > 0) info.shared_bytes_per_block = options_.shared_bytes;
    Stream stream(&info, octet::test::TestGpu()->stream().handle());
    int64_t rows = 0;
    std::vector<AttentionSequence> sequences;
    for (const Rows& run : runs) {
      sequences.push_back({rows, run.count, run.first_position, nullptr, offsets_[run.sequence],
                           options_.appends ? 0 : run.first_position});
      rows += run.count;
    }
    std::vector<uint8_t> plan(static_cast<size_t>(plan_.plan_bytes()), 0xff);
    BuildAttentionPlan(limits_, context_.shape().window, sequences,
                       reinterpret_cast<std::byte*>(plan.data()));
    const DeviceBuffer device_plan = octet::test::ToDevice(plan, stream);
    std::vector<float> queries = context_.Queries(runs, head_source_);
    const size_t values = queries.size();
    queries.resize(values + 4);  // a step without rows has buffers all the same
    const DeviceBuffer q = octet::test::ToDevice(queries, stream);
    const DeviceBuffer out =
        octet::test::ToDevice(std::vector<float>(queries.size(), -1.0f), stream);

    AttentionArgs args;
    args.layout = context_.layout();
    args.cache = cache_.data();
    args.q = q.as<float>();
    args.q_stride = static_cast<int64_t>(head_source_.size()) * context_.shape().head_dim;
    args.out = out.as<float>();
    args.out_stride = args.q_stride;
    if (options_.bf16) {
      args.y.format = ActivationFormat::kBF16;
      args.y.values = out.data();
      args.y.stride = args.q_stride;
    }
    args.scale = context_.scale();
    args.window = context_.shape().window;
    args.workspace = workspace_.data();
    args.plan = plan_;
    args.plan.bytes = device_plan.data();
    args.block_tables = tables_.as<int32_t>();
    if (options_.appends) {
      const PagedContext::Tokens tokens = context_.TokensOf(0);
      const DeviceBuffer k = octet::test::ToDevice(tokens.k, stream);
      const DeviceBuffer v = octet::test::ToDevice(tokens.v, stream);
      const DeviceBuffer slots = octet::test::ToDevice(tokens.slots, stream);
      AppendKv({args.layout, cache_.data(), k.as<float>(), v.as<float>(),
                args.layout.kv_heads * args.layout.head_dim,
                static_cast<int64_t>(tokens.slots.size()), slots.as<int64_t>()},
               stream);
      Attention(args, stream);
      Synchronize(stream);
    } else {
      Attention(args, stream);
    }
    std::vector<float> widened;
    if (!options_.bf16) {
      widened = octet::test::ToHost<float>(out, stream);
      widened.resize(values);
      return widened;
    }
    for (const uint16_t x : octet::test::ToHost<uint16_t>(out, stream)) {
      widened.push_back(BF16ToFloat(x));
    }
    widened.resize(values);
    return widened;
  }

 private:
  const PagedContext& context_;
  DeviceOptions options_;
  std::vector<HeadGroup> groups_;
  std::vector<int32_t> head_source_;
  std::vector<int64_t> offsets_;  // of each sequence's table
  AttentionLimits limits_;
  AttentionDevicePlan plan_;
  DeviceBuffer cache_, tables_, workspace_;
};

}  // namespace octet::kernels::test
