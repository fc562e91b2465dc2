// A linear written straight from its definition (kernels/linear/linear.h and panel.h; for layout
// kCuda8 linear8_definition.h): one output, one row, one input at a time, over the neutral form.
// Knows nothing of packing, panels or blocks.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/isa.h"
#include "kernels/linear/linear.h"

namespace octet::kernels {

// The weight at [output, input] as float32.
float ReferenceWeight(const LinearShape& shape, const NeutralRows& weights, int64_t output,
                      int64_t input);

// x [rows, inputs] -> [roots, rows, outputs]; `bias` is empty or [outputs]. The float modes fuse
// multiply and add for all families but the plain one. Numbers that are not finite: kCuda8 alone.
std::vector<float> ReferenceLinear(const LinearShape& shape, const NeutralRows& weights,
                                   const std::vector<float>& x, int64_t rows,
                                   const std::vector<float>& bias, ActivationFormat activation,
                                   Isa isa);

}  // namespace octet::kernels
