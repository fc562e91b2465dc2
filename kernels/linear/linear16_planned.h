// Plans that were made before, so that a step makes none: a call allocates only the first time that
// its thread meets the shape with that many rows.
#pragma once

#include <cstdint>

#include "kernels/linear/linear16_plan.h"

namespace octet::kernels {

struct PlannedLinear16 {
  const Cuda16Layout& layout;
  const Linear16Plan& plan;
};

// The references hold until this thread asks for another. REQUIRES: as PlanLinear16.
PlannedLinear16 PlannedBefore(const LinearShape& shape, int64_t rows, ActivationFormat rows_format,
                              MatrixFamily family);

}  // namespace octet::kernels
