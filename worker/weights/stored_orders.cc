// Act-order: which group an input is in, and the order that follows for the linears.
#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/json/json.h"
#include "worker/model/shard_plan.h"
#include "worker/weights/stored_modules.h"

namespace octet::worker {

// An input may be in any group only if the config says so.
Status StoredModules::ReadGroupNumbers(const Checkpoint& checkpoint) {
  const char* suffix = format_->GroupNumbers();
  if (suffix == nullptr) return {};
  for (const auto& [name, place] : packed_) {
    const LinearModule& module = modules_[place];
    const Checkpoint::Tensor* tensor = checkpoint.Find(StoredTensorName(name, suffix));
    if (tensor == nullptr) continue;
    InputGroups read;
    read.numbers.resize(module.inputs);
    OCTET_RETURN_IF_ERROR(checkpoint.ReadRows(*tensor, {0, 1, 0, module.inputs},
                                              reinterpret_cast<std::byte*>(read.numbers.data())));
    const int64_t groups = format_->group_count(module.inputs);
    const int64_t group = format_->group_inputs(module.inputs);
    bool in_order = true;
    for (int64_t input = 0; input < module.inputs; ++input) {
      const int64_t found = read.numbers[input];
      if (found == input / group) continue;
      in_order = false;
      const std::string what = checkpoint.FileOf(*tensor) + ": tensor " +
                               Quoted(tensor->info->name) + ": input " + std::to_string(input) +
                               " is in group " + std::to_string(found) + ", expected ";
      if (found < 0 || found >= groups) {
        return DataLoss(what + "one of " + std::to_string(groups) + " groups");
      }
      if (!format_->config().act_order) {
        return DataLoss(what + std::to_string(input / group) +
                        ", as the checkpoint is said to have no act-order");
      }
    }
    if (in_order) continue;
    read.order.resize(module.inputs);
    std::iota(read.order.begin(), read.order.end(), 0);
    std::stable_sort(read.order.begin(), read.order.end(),
                     [&](int32_t a, int32_t b) { return read.numbers[a] < read.numbers[b]; });
    groups_[name] = std::move(read);
  }
  return {};
}

// Sorted inputs are kept in groups of one size.
Status StoredModules::CheckFullGroups(const LinearModule& module) const {
  const InputGroups& groups = groups_.at(module.name);
  const int64_t group = format_->group_inputs(module.inputs);
  for (int64_t i = 0; i < module.inputs; ++i) {
    const int64_t found = groups.numbers[groups.order[i]];
    if (found == i / group) continue;
    return Unimplemented("tensor " +
                         Quoted(StoredTensorName(module.name, format_->GroupNumbers())) +
                         ": group " + std::to_string(std::min(found, i / group)) +
                         " has another number of inputs than the group size of " +
                         std::to_string(group) + ", supported are full groups");
  }
  return {};
}

// What act-order asks of the linears: q, k and v are one here, and so are gate and up, so that
// their inputs must be sorted alike; the inputs of down are sorted by writing gate and up in that
// order; those of the attention output stay where they are.
Status StoredModules::CheckOrders() {
  for (const LinearModule& module : modules_) {
    const std::string& first =
        first_part_.emplace(std::pair(module.kind, module.layer), module.name).first->second;
    const std::vector<int32_t>* own = GroupNumbers(module.name);
    const std::vector<int32_t>* others = GroupNumbers(first);
    const bool is_equal = own == others || (own != nullptr && others != nullptr && *own == *others);
    if (!is_equal) {
      return Unimplemented("modules " + Quoted(first) + " and " + Quoted(module.name) +
                           " have their inputs in other groups, supported are equal ones");
    }
    if (own == nullptr) continue;
    if (module.kind == LinearKind::kO) {
      linears_.o = {.format = kernels::WeightFormat::kF32};
      continue;
    }
    OCTET_RETURN_IF_ERROR(CheckFullGroups(module));
    if (module.kind == LinearKind::kHead) {
      return Unimplemented("module " + Quoted(module.name) +
                           ": a vocabulary head with act-order is not supported");
    }
    if (module.kind != LinearKind::kDown) linears_.ordered_inputs = true;
  }
  for (const LinearModule& module : modules_) {
    if (module.kind != LinearKind::kGateUp) continue;
    const auto down = first_part_.find({LinearKind::kDown, module.layer});
    if (down == first_part_.end() || InputOrder(down->second) == nullptr) continue;
    if (!IsPacked(module.name) || module.outputs != Find(down->second).inputs) {
      return Unimplemented("module " + Quoted(module.name) + " is followed by " +
                           Quoted(down->second) + ", which has act-order; supported is one that " +
                           "is quantized and has as many outputs as that has inputs");
    }
    behind_outputs_[module.name] = down->second;
  }
  return {};
}

// The form of the attention output on the CPU, where it takes less than floats.
void StoredModules::FindRuns(const ModelSpec& spec, const KeptLinear& kept) {
  const SumTree tree = ShardPlan::Make(spec, 1, 0)->attention_tree;
  const std::vector<int64_t> bounds(tree.bounds().begin(), tree.bounds().end());
  std::vector<std::vector<int32_t>> groups;  // of each layer
  KeptRuns runs = {.linear = kept};
  runs.linear.group = kRunInputs;
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    const LinearModule& module = Find(first_part_.at({LinearKind::kO, layer}));
    if (const std::vector<int32_t>* numbers = GroupNumbers(module.name)) {
      groups.push_back(*numbers);
    } else {
      const int64_t group = format_->group_inputs(module.inputs);
      std::vector<int32_t>& in_order = groups.emplace_back(module.inputs);
      for (int64_t i = 0; i < module.inputs; ++i) in_order[i] = static_cast<int32_t>(i / group);
    }
    runs.leaf_places = std::max(runs.leaf_places, LeafPlaces(groups.back(), bounds));
  }
  const int64_t scale_bytes =
      (kept.scale_format == kernels::ScaleFormat::kF32 ? 4 : 2) * (kept.asymmetric ? 2 : 1);
  const int64_t places = tree.leaf_count() * runs.leaf_places;
  const int64_t code_bytes = kept.format == kernels::WeightFormat::kInt4 ? places / 2 : places;
  if (code_bytes + places / kRunInputs * scale_bytes >= tree.inputs() * int64_t{sizeof(float)})
    return;
  for (const std::vector<int32_t>& of_layer : groups)
    o_runs_.push_back(MakeInputRuns(of_layer, bounds, runs.leaf_places));
  linears_.o_runs = runs;
}

const std::vector<int32_t>* StoredModules::InputOrder(const std::string& module) const {
  const auto found = groups_.find(module);
  return found == groups_.end() ? nullptr : &found->second.order;
}

const std::vector<int32_t>* StoredModules::GroupNumbers(const std::string& module) const {
  const auto found = groups_.find(module);
  return found == groups_.end() ? nullptr : &found->second.numbers;
}

const std::vector<int32_t>* StoredModules::OutputOrder(const std::string& module) const {
  const auto found = behind_outputs_.find(module);
  return found == behind_outputs_.end() ? nullptr : InputOrder(found->second);
}

std::vector<int32_t> StoredModules::OrderOf(LinearKind kind, int64_t layer) const {
  const auto module = std::find_if(modules_.begin(), modules_.end(), [=](const LinearModule& one) {
    return one.kind == kind && one.layer == layer;
  });
  OCTET_CHECK(module != modules_.end());
  if (const std::vector<int32_t>* order = InputOrder(module->name)) return *order;
  std::vector<int32_t> as_they_lie(module->inputs);
  std::iota(as_they_lie.begin(), as_they_lie.end(), 0);
  return as_they_lie;
}

}  // namespace octet::worker
