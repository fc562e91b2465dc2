// Sampling parameters that the tests of choosing on the host and on a device go through.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/sampling/sampling.h"

namespace octet::kernels::test {

inline SamplingParams Params(float temperature, int32_t top_k = 0, float top_p = 1, float min_p = 0,
                             uint64_t seed = 1) {
  return {temperature, top_k, top_p, min_p, seed, 0};
}

// Every route, and within it every filter.
inline const std::vector<SamplingParams>& AllParams() {
  static const std::vector<SamplingParams> kParams = {Params(0),
                                                      Params(0.8f),
                                                      Params(3.0f),
                                                      Params(1, 1),
                                                      Params(1, 50),
                                                      Params(0.7f, 256, 0.9f),
                                                      Params(2, 40, 1, .2f),
                                                      Params(1, 300),
                                                      Params(1, 5000, 0.95f),
                                                      Params(1, 0, 0.9f),
                                                      Params(1.5f, 0, .999f),
                                                      Params(1, 0, 1, 0.05f),
                                                      Params(1, 0, 0.8f, 0.01f),
                                                      Params(1e-4f, 0, 0.9f),
                                                      Params(50, 0, 0.5f),
                                                      Params(1e-4f),
                                                      Params(1e4f)};
  return kParams;
}

}  // namespace octet::kernels::test
