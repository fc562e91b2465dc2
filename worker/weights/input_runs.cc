#include "worker/weights/input_runs.h"

#include <algorithm>
#include <numeric>

#include "base/buffer.h"
#include "base/check.h"

namespace octet::worker {
namespace {

// The inputs of a leaf in the order in which they are kept.
std::vector<int32_t> Sorted(const std::vector<int32_t>& groups, int64_t begin, int64_t end) {
  std::vector<int32_t> inputs(end - begin);
  std::iota(inputs.begin(), inputs.end(), static_cast<int32_t>(begin));
  std::stable_sort(inputs.begin(), inputs.end(),
                   [&](int32_t a, int32_t b) { return groups[a] < groups[b]; });
  return inputs;
}

// Gives each run of one group: where it begins in `inputs`, and how long it is.
template <typename Visit>
void ForRuns(const std::vector<int32_t>& groups, const std::vector<int32_t>& inputs,
             const Visit& visit) {
  for (size_t begin = 0; begin < inputs.size();) {
    size_t end = begin;
    while (end < inputs.size() && groups[inputs[end]] == groups[inputs[begin]]) ++end;
    visit(begin, end - begin);
    begin = end;
  }
}

}  // namespace

int64_t LeafPlaces(const std::vector<int32_t>& groups, const std::vector<int64_t>& leaf_bounds) {
  int64_t most = 0;
  for (size_t leaf = 0; leaf + 1 < leaf_bounds.size(); ++leaf) {
    int64_t places = 0;
    ForRuns(groups, Sorted(groups, leaf_bounds[leaf], leaf_bounds[leaf + 1]),
            [&](size_t, size_t inputs) {
              places += AlignUp(static_cast<int64_t>(inputs), kRunInputs);
            });
    most = std::max(most, places);
  }
  return most;
}

InputRuns MakeInputRuns(const std::vector<int32_t>& groups, const std::vector<int64_t>& leaf_bounds,
                        int64_t leaf_places) {
  const auto leaves = static_cast<int64_t>(leaf_bounds.size()) - 1;
  OCTET_CHECK_EQ(leaf_places % kRunInputs, 0);
  InputRuns runs = {leaf_bounds, leaf_places, {}, {}};
  runs.inputs.assign(leaves * leaf_places, -1);
  runs.groups.assign(leaves * leaf_places / kRunInputs, -1);
  for (int64_t leaf = 0; leaf < leaves; ++leaf) {
    const std::vector<int32_t> inputs = Sorted(groups, leaf_bounds[leaf], leaf_bounds[leaf + 1]);
    int64_t place = leaf * leaf_places;
    ForRuns(groups, inputs, [&](size_t begin, size_t count) {
      std::copy_n(inputs.begin() + static_cast<int64_t>(begin), count, runs.inputs.begin() + place);
      const int64_t filled = AlignUp(static_cast<int64_t>(count), kRunInputs);
      std::fill_n(runs.groups.begin() + place / kRunInputs, filled / kRunInputs,
                  groups[inputs[begin]]);
      place += filled;
    });
    OCTET_CHECK_LE(place, (leaf + 1) * leaf_places);
  }
  return runs;
}

int64_t InputRuns::InputBegin(const kernels::LinearShape& shape) const {
  return leaf_bounds[shape.input_begin / leaf_places];
}

int64_t InputRuns::InputEnd(const kernels::LinearShape& shape) const {
  return leaf_bounds[(shape.input_begin + shape.inputs) / leaf_places];
}

std::vector<int32_t> InputRuns::LocalOrder(const kernels::LinearShape& shape) const {
  const auto first = static_cast<int32_t>(InputBegin(shape));
  std::vector<int32_t> order(shape.inputs);
  for (int64_t place = 0; place < shape.inputs; ++place) {
    const int32_t input = inputs[shape.input_begin + place];
    order[place] = input < 0 ? -1 : input - first;
  }
  return order;
}

}  // namespace octet::worker
