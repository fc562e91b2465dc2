// Where an engine's device is decided, once: which buffers its decoder works in and who draws its
// tokens. Everything behind it runs the same on the CPU and on a GPU.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "worker/cache/slot_table.h"
#include "worker/engine/engine_config.h"
#include "worker/engine/engine_memory.h"
#include "worker/engine/token_sampler.h"
#include "worker/model/decoder.h"

namespace octet::worker {

// Parts of `memory`, with what a device needs to find there once.
DecoderBuffers MakeDecoderBuffers(const EngineConfig& config, const DecoderShapes& shapes,
                                  const EngineMemory& memory, Stream& stream);

// All outlive the sampler.
struct SamplerParts {
  const EngineConfig& config;
  const EngineMemory& memory;
  SlotTable* slots;
  Decoder* decoder;
  comm::Communicator* comm;
  Stream* stream;
};
std::unique_ptr<TokenSampler> MakeSampler(const SamplerParts& parts);

}  // namespace octet::worker
