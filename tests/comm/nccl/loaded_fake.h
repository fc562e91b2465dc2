// The switches of the fake NCCL (fake_nccl.h), in the process that loads it.
#pragma once

#include <dlfcn.h>

#include "tests/comm/nccl/fake_nccl.h"

namespace octet::comm {

inline FakeNccl& Fake() {
  static void* const library = dlopen(OCTET_FAKE_NCCL, RTLD_NOW | RTLD_LOCAL);
  return *reinterpret_cast<FakeNcclSwitches>(dlsym(library, kFakeNcclSwitches))();
}

}  // namespace octet::comm
