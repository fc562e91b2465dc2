// A rank's weights where it computes: on the CPU as they were loaded, on a GPU as a copy of the
// same bytes, part for part at the same offsets.
#pragma once

#include <utility>

#include "base/device/device.h"
#include "base/status.h"
#include "worker/model/decoder_weights.h"

namespace octet::worker {

struct ResidentWeights {
  DecoderWeights weights;  // its arena is empty where `memory` holds the bytes
  DeviceBuffer memory;

  ResidentWeights() = default;
  // Of the CPU.
  ResidentWeights(DecoderWeights loaded) : weights(std::move(loaded)) {}  // NOLINT: implicit
  int64_t bytes() const { return memory.bytes() + weights.arena.taken_bytes(); }
};

// Copies what was loaded and lets the host's memory go. Fails when the device has not that much.
Result<ResidentWeights> UploadWeights(DecoderWeights loaded, Stream& stream);

// A model of `layers` layers that all have the weights of the one layer of `loaded`: for benchmarks
// of shapes that no host's memory would hold.
Result<ResidentWeights> UploadRepeated(DecoderWeights loaded, int64_t layers, Stream& stream);

}  // namespace octet::worker
