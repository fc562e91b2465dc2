// What a plan of the linear with bf16 activations is expected to take on a device: enough to choose
// among plans. Fitted to measurements where it says so.
#pragma once

#include <cstdint>

#include "kernels/linear/linear16_plan.h"

namespace octet::kernels {

// The nominal device of a family, per multiprocessor and clock: an A100 and an H200. Orders of
// magnitude from data sheets and the design pages, to be replaced by measurements.
struct Linear16Machine {
  double multiprocessors;
  double memory_bytes;
  double memory_latency;  // under load
  double l2_bytes;
  double products;
  double lanes;          // instructions of one lane
  double least_tokens;   // a matrix instruction takes no less time for fewer
  double panel_clocks;   // from one stage to the next, of a panel by itself
  double token_clocks;   // the same, more for each token
  double reduce_clocks;  // a second launch and its latency
  double measured;       // time over the roofline, tiles of linear16_{mma,wgmma}.cuh
  int64_t block_shared_bytes;
  int64_t shared_bytes;
};

const Linear16Machine& Linear16MachineOf(MatrixFamily family);

// Clocks of a plan for `rows` rows, its launch left out.
double Linear16Clocks(const LinearShape& shape, const Cuda16Layout& layout, int64_t rows,
                      const Linear16Plan& plan, const Linear16Machine& machine);

}  // namespace octet::kernels
