// What the device of a benchmark could do at best, measured in the same run.
#pragma once

#include "base/device/device.h"
#include "base/status.h"

namespace octet::launch {

struct MachineSpeed {
  // Two measurements, before and after: the better one, and the mean of what is sustained.
  MachineSpeed With(const MachineSpeed& other) const;

  // Bytes per second: of reading on the CPU, all threads of a rank; of copying on a GPU, read and
  // written bytes together.
  double bandwidth = 0;
  double sustained_bandwidth = 0;  // of the CPU alone (kernels/roofline)
  // Operations per second of a rank: of the CPU's integer units, or of a GPU's matrix units.
  double int8_peak = 0;
  double bf16_peak = 0;  // of a GPU alone
};

// `gpu` is null on the CPU. On a GPU it needs free memory for two buffers of kCopyBytes at most.
Status MeasureMachine(Gpu* gpu, Stream& stream, MachineSpeed* speed);

}  // namespace octet::launch
