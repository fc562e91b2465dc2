// From a checkpoint, or from nothing, to one rank's packed weights. Each rank reads its own slices
// only, in blocks of rows, and packs them once into the arena; host memory beyond the arena stays
// below a few MB. Called once at start, from one thread; the pool reads, rounds and packs.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/dtype.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "worker/model/decoder_weights.h"
#include "worker/model/model_spec.h"
#include "worker/model/shard_plan.h"
#include "worker/weights/checkpoint.h"
#include "worker/weights/shared_reads.h"
#include "worker/weights/stored_modules.h"

namespace octet::worker {

// What a person asks for: auto, f32, f16, bf16, int8 or int4; group 0 means auto.
struct WeightRequest {
  std::string layers = "auto";
  std::string head = "auto";
  int64_t group = 0;
};

// How a checkpoint stores its tensors; without a checkpoint, what to plan with.
struct StoredTypes {
  DType layers = DType::kBF16;  // f32 where the layers' matrices are of several types
  DType head = DType::kBF16;
  DType embedding = DType::kBF16;
  DType positions = DType::kBF16;  // as the embedding where there is no table
  StoredLinears linears;           // of a checkpoint that is quantized already
  std::string quantization;        // "int4 GPTQ, group 128"; empty: it is not
};

// Every tensor that `spec` needs is there with the right shape and a float type, and no other
// tensor is there: one that is left out would change what the model computes.
Status CheckTensors(const Checkpoint& checkpoint, const ModelSpec& spec);

// REQUIRES: CheckTensors.
StoredTypes StoredTypesOf(const Checkpoint& checkpoint, const ModelSpec& spec);
StoredTypes StoredTypesOf(const Checkpoint& checkpoint, const StoredModules& modules,
                          const ModelSpec& spec);

// What a checkpoint stores whose config says so, as far as it tells: every linear of the layers is
// packed, and floats, scales among them, are of `type`. Nothing else of a checkpoint is looked at.
StoredTypes StoredTypesOf(const std::optional<QuantizationConfig>& config, DType type);

// auto keeps what is stored, exactly, and a checkpoint that is quantized already keeps its layers
// whatever is asked; the head of layers that are quantized here is int8; a group has 128 inputs
// from a hidden size of 2048 on, else 32.
Result<WeightOptions> ResolveWeightOptions(const StoredTypes& stored, const ModelSpec& spec,
                                           const WeightRequest& request);
Result<WeightOptions> ResolveWeightOptions(const Checkpoint& checkpoint, const ModelSpec& spec,
                                           const WeightRequest& request);

inline constexpr int64_t kLoadBatchElements = int64_t{1}
                                              << 15;  // read and rounded at once, or a row

// Checks all tensors before it takes memory. `progress` may be null; it is called with a growing
// fraction, 1 at last, from the calling thread, after every batch that this thread reads: silence
// is a read that does not come back. `memory` is where the weights are to lie, zeroed and of
// WeightPlan's bytes; empty: new memory. `shared` may be null: then modules that all ranks need
// whole are read by each.
Result<DecoderWeights> LoadDecoderWeights(const Checkpoint& checkpoint, const ModelSpec& spec,
                                          const ShardPlan& shard, const WeightOptions& options,
                                          ThreadPool& pool,
                                          const std::function<void(double)>& progress,
                                          Buffer memory = {}, SharedReads* shared = nullptr);

// Made-up weights in true shapes, for benchmarks without a checkpoint. A weight depends on seed,
// tensor, row and column alone, so that all TP degrees have the same model. Magnitudes are such
// that activations stay finite.
DecoderWeights MakeRandomWeights(const ModelSpec& spec, const ShardPlan& shard,
                                 const WeightOptions& options, uint64_t seed, ThreadPool& pool);

}  // namespace octet::worker
