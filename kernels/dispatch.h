// The one place where an op goes to its device. A backend that was not built is refused here.
#pragma once

#include "base/check.h"
#include "base/device/stream.h"

namespace octet::kernels {

template <typename Args>
void Dispatch(void (*on_cpu)(const Args&, Stream&), const Args& args, Stream& stream) {
  const bool built_without_cuda = stream.device() == Device::kCuda;
  OCTET_CHECK(!built_without_cuda);
  on_cpu(args, stream);
}

}  // namespace octet::kernels
