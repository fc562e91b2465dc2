// The gather of a group of one rank, as work on a device.
#pragma once

#include <cstdint>

#include "base/device/stream.h"

namespace octet::comm {

struct CopyBytesArgs {
  const void* from = nullptr;  // [bytes]
  void* to = nullptr;          // [bytes], does not overlap `from`
  int64_t bytes = 0;
};

namespace cuda {
// Moves 2 * bytes.
OCTET_CUDA_OP void CopyBytes(const CopyBytesArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::comm
