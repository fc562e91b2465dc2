// A place in a ring of buffers in shared memory, which those who fill it and those who empty it go
// through in step, and the parity of the phase of its barriers.
#pragma once

#include "base/device/primitives.cuh"

namespace octet {

struct RingPlace {
  int32_t slot = 0;     // counted, or where it begins
  uint32_t parity = 0;  // whoever fills waits with the other one, so not at all the first time

  OCTET_DEVICE void Advance(int32_t end, int32_t step = 1) {
    if ((slot += step) == end) {
      slot = 0;
      parity ^= 1;
    }
  }
};

}  // namespace octet
