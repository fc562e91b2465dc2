// How a row-parallel linear with act-order is kept on the CPU (KeptRuns of decoder_weights.h): in
// each leaf the inputs sorted by group, stable, each run of one group filled up to whole groups of
// kRunInputs places. The same at every degree. Plain data, made of group numbers alone.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/linear/linear.h"

namespace octet::worker {

// What a packed chunk of codes holds: shorter runs would be filled up to it all the same.
inline constexpr int64_t kRunInputs = 8;

struct InputRuns {
  std::vector<int64_t> leaf_bounds;  // [leaves + 1] inputs, unsharded
  int64_t leaf_places = 0;
  std::vector<int32_t> inputs;  // [leaves * leaf_places] unsharded; -1: none
  std::vector<int32_t> groups;  // [leaves * leaf_places / kRunInputs] stored; -1: none

  // Of a rank's part, whose shape is over places.
  int64_t InputBegin(const kernels::LinearShape& shape) const;
  int64_t InputEnd(const kernels::LinearShape& shape) const;
  // Where each of its places finds its input among the rank's own, [inputs of the shape].
  std::vector<int32_t> LocalOrder(const kernels::LinearShape& shape) const;
};

// The places that the longest leaf needs. `groups`: of each input.
int64_t LeafPlaces(const std::vector<int32_t>& groups, const std::vector<int64_t>& leaf_bounds);

// REQUIRES: leaf_places is a multiple of kRunInputs, and at least LeafPlaces.
InputRuns MakeInputRuns(const std::vector<int32_t>& groups, const std::vector<int64_t>& leaf_bounds,
                        int64_t leaf_places);

}  // namespace octet::worker
