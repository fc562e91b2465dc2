// The one place where an op goes to its device. A backend that was not linked is refused here.
#pragma once

#include "base/check.h"
#include "base/device/stream.h"

namespace octet::kernels {

template <typename Args>
void Dispatch(void (*on_cpu)(const Args&, Stream&), void (*on_cuda)(const Args&, Stream&),
              const Args& args, Stream& stream) {
  if (stream.device() == Device::kCpu) return on_cpu(args, stream);
  const bool cuda_form_is_linked = on_cuda != nullptr;
  OCTET_CHECK(cuda_form_is_linked);
  on_cuda(args, stream);
}

// Of an op that only a device needs.
template <typename Args>
void Dispatch(void (*on_cuda)(const Args&, Stream&), const Args& args, Stream& stream) {
  const bool cuda_form_is_linked = on_cuda != nullptr;
  OCTET_CHECK(cuda_form_is_linked);
  OCTET_CHECK(stream.device() == Device::kCuda);
  on_cuda(args, stream);
}

}  // namespace octet::kernels
