#include "worker/engine/engine_parts.h"

#include "worker/engine/device_inputs.h"
#include "worker/engine/device_sampler.h"
#include "worker/engine/host_sampler.h"

namespace octet::worker {
namespace {

using enum ActivationBuffer;

std::unique_ptr<TokenSampler> MakeHostSampler(const SamplerParts& p) {
  const EngineMemory& m = p.memory;
  const HostSamplerBuffers buffers = {
      .history = {.last_tokens = m.Of<int32_t>(kLastTokens),
                  .history = m.Of<int32_t>(kHistory),
                  .logit_bias = m.Of<kernels::TokenBias>(kLogitBias),
                  .end_ids = m.Of<int32_t>(kEndIds)},
      .head_hidden = m.Of<float>(kHeadHidden),
      .logits = m.Of<float>(kLogits),
      .saved_logits = m.Of<float>(kSavedLogits),
      .token_counts = m.Of<uint32_t>(kTokenCounts),
      .send = m.Of<std::byte>(kSend),
      .gather = m.Of<std::byte>(kGather),
      .choice = m.Of<std::byte>(kChoice)};
  return std::make_unique<HostSampler>(p.config, buffers, p.slots, p.decoder, p.comm, p.stream);
}

std::unique_ptr<TokenSampler> MakeDeviceSampler(const SamplerParts& p) {
  const EngineMemory& m = p.memory;
  const DeviceSamplerBuffers buffers = {.state = m.Of<std::byte>(kSamplerState),
                                        .head_hidden = m.Of<float>(kHeadHidden),
                                        .logits = m.Of<float>(kLogits),
                                        .workspace = m.Of<std::byte>(kOfferWorkspace),
                                        .send = m.Of<std::byte>(kSend),
                                        .gather = m.Of<std::byte>(kGather),
                                        .results = m.Of<std::byte>(kResults),
                                        .host_results = m.OnHost<std::byte>(kResults)};
  return std::make_unique<DeviceSampler>(p.config, buffers, p.slots, p.decoder, p.comm, p.stream);
}

}  // namespace

DecoderBuffers MakeDecoderBuffers(const EngineConfig& config, const DecoderShapes& shapes,
                                  const EngineMemory& memory, Stream& stream) {
  DecoderBuffers b = {.residual = memory.Of<float>(kResidual),
                      .delta = memory.Of<float>(kDelta),
                      .roots = memory.Of<float>(kRoots),
                      .qkv = memory.Of<float>(kQkv),
                      .gate_up = memory.Of<float>(kGateUp),
                      .cos = memory.Of<float>(kCos),
                      .sin = memory.Of<float>(kSin),
                      .inverse_frequency = memory.Of<float>(kInverseFrequency),
                      .workspace = memory.Of<std::byte>(kWorkspace)};
  if (config.device == Device::kCpu) {
    b.ordered.values = memory.Of<float>(kOrdered);
    b.ordered.extent.inputs = config.spec.hidden;
    b.attention.values = memory.Of<float>(kAttention);
    b.attention_places = memory.Of<float>(kAttentionPlaces);
    b.gated.values = memory.Of<float>(kGated);
    b.attention_workspace = b.workspace;
  } else {
    DeviceInputs inputs = DeviceInputs::Of(shapes);
    inputs.PlaceTables(memory.Of<std::byte>(kSegmentTables), stream);
    b.normed = inputs.normed;
    b.ordered = inputs.ordered;
    if (shapes.ordered_inputs) {
      b.ordered.bytes = memory.Of<std::byte>(kOrdered);
      b.ordered.values = memory.Of<float>(kOrdered);
    } else {
      b.normed.bytes = memory.Of<std::byte>(kNormedRows);
    }
    b.attention = inputs.attention;
    b.attention.bytes = memory.Of<std::byte>(kAttentionRows);
    b.gated = inputs.gated;
    b.gated.bytes = memory.Of<std::byte>(kGatedRows);
    b.arrivals = memory.Of<uint32_t>(kArrivals);
    b.attention_workspace = memory.Of<std::byte>(kAttentionWorkspace);
    // Rows of padding are given no attention: what they hold stays finite.
    FillBytes(b.attention.bytes, 0, memory.bytes_of(kAttentionRows), stream);
    FillBytes(b.attention_workspace, 0, memory.bytes_of(kAttentionWorkspace), stream);
    FillBytes(memory.Of<std::byte>(kArrivals), 0, memory.bytes_of(kArrivals), stream);
  }
  b.normed.values = memory.Of<float>(kNormed);
  return b;
}

std::unique_ptr<TokenSampler> MakeSampler(const SamplerParts& parts) {
  return parts.config.device == Device::kCpu ? MakeHostSampler(parts) : MakeDeviceSampler(parts);
}

}  // namespace octet::worker
