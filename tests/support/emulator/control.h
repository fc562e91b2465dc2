// How a test steers the emulator. The environment does the same for a run of a whole binary:
//   OCTET_EMULATOR_SEED        0: threads in order; else the order is random, the same each time
//   OCTET_EMULATOR_CAPABILITY  80, 90, ...: what devices claim to be
//   OCTET_EMULATOR_GUARD       0: the host may touch device memory
#pragma once

#include <cstdint>

namespace octet::emulator {

void SetSeed(uint64_t seed);
// Of devices opened from now on.
void SetCapability(int capability);
// Memory of each device.
void SetDeviceBytes(int64_t bytes);

struct Counts {
  int64_t launches = 0;     // a launch of a graph counts each of its kernels
  int64_t graphs = 0;       // launched
  int64_t allocations = 0;  // of device memory
  int64_t copies_to_device = 0;
  int64_t copies_to_host = 0;
  int64_t bank_conflicts = 0;  // of ldmatrix: of the 8 rows of a matrix, those beyond one a bank
};
Counts CountsSoFar();

}  // namespace octet::emulator
