// A plain read of device memory: what a kernel that reads its weights is measured against.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/device/stream.h"

namespace octet {

// Reads `bytes` (a multiple of 16) once, and writes a word to `sink` ([1], device) that depends on
// them all.
void ReadBytes(const std::byte* from, int64_t bytes, uint32_t* sink, Stream& stream);

}  // namespace octet
