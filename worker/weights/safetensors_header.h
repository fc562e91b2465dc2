// The header of a safetensors file: JSON text in, checked table out. Nothing is built but the
// table, so that memory stays within twice the header.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "worker/weights/safetensors.h"

namespace octet::worker {

// `data_bytes` is what the file holds after the header: the tensors must cover it exactly, in
// order, without a hole. The table is sorted by name.
Result<std::vector<TensorInfo>> ParseSafetensorsHeader(std::string_view header, int64_t data_bytes,
                                                       const std::string& file_name);

}  // namespace octet::worker
