// The linears of a checkpoint and how each is stored: as floats, or packed by one of formats/. A
// module is packed if the first tensor of the format is there, whatever the config says. Checks
// names, types and shapes of every tensor against config.json before any value is read, and reads
// the group numbers of inputs, which decide in what order a linear is kept. Owns the format.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "worker/model/decoder_weights.h"
#include "worker/model/model_spec.h"
#include "worker/weights/checkpoint.h"
#include "worker/weights/formats/stored_format.h"
#include "worker/weights/input_runs.h"

namespace octet::worker {

// The linear of the decoder that a module is a part of.
enum class LinearKind : uint8_t { kQkv, kO, kGateUp, kDown, kHead };
inline constexpr int64_t kLinearKinds = 5;

struct LinearModule {
  std::string name;
  LinearKind kind = LinearKind::kQkv;
  int64_t layer = 0;  // 0 for the head
  int64_t outputs = 0;
  int64_t inputs = 0;
};

// Every module that a linear of `spec` is made of, once, layer after layer; the head last, where it
// is not the embedding.
std::vector<LinearModule> LinearModulesOf(const ModelSpec& spec);

class StoredModules {
 public:
  // Every tensor that `spec` needs is there with the right shape and a type that is read, and no
  // other tensor is there: one that is left out would change what the model computes.
  static Result<StoredModules> Open(const Checkpoint& checkpoint, const ModelSpec& spec);

  // Null: nothing is packed.
  const StoredFormat* format() const { return format_.get(); }
  const std::vector<LinearModule>& modules() const { return modules_; }
  bool IsPacked(const std::string& module) const { return packed_.count(module) != 0; }
  // REQUIRES: IsPacked.
  const LinearModule& Find(const std::string& module) const {
    return modules_[static_cast<size_t>(packed_.at(module))];
  }
  bool any_packed() const { return !packed_.empty(); }
  // The inputs of a packed module sorted by group, stable, and the group of each input as it lies;
  // null: the inputs lie in the order of their groups.
  const std::vector<int32_t>* InputOrder(const std::string& module) const;
  const std::vector<int32_t>* GroupNumbers(const std::string& module) const;
  // The order in which the outputs of a module are kept, that of the inputs of the linear behind
  // it; null: as they lie.
  const std::vector<int32_t>* OutputOrder(const std::string& module) const;
  // The order of the inputs of a linear that is kept sorted, [inputs].
  std::vector<int32_t> OrderOf(LinearKind kind, int64_t layer) const;
  // Of the attention output of a layer, where linears().o_runs is there.
  const InputRuns& RunsOf(int64_t layer) const { return o_runs_[static_cast<size_t>(layer)]; }
  // How the linears are kept, where any of the layers (or the head) is packed.
  const StoredLinears& linears() const { return linears_; }

 private:
  Status CheckModules(const Checkpoint& checkpoint);
  Status CheckOtherTensors(const Checkpoint& checkpoint, const ModelSpec& spec) const;
  Status FindLinears(const Checkpoint& checkpoint);
  Status ReadGroupNumbers(const Checkpoint& checkpoint);
  Status CheckOrders();
  void FindRuns(const ModelSpec& spec, const KeptLinear& kept);
  Status CheckFullGroups(const LinearModule& module) const;

  std::unique_ptr<StoredFormat> format_;
  std::vector<LinearModule> modules_;
  std::map<std::string, int64_t> packed_;  // module -> its place in modules_
  StoredLinears linears_;
  struct InputGroups {
    std::vector<int32_t> numbers;
    std::vector<int32_t> order;
  };
  std::map<std::string, InputGroups> groups_;          // of modules whose inputs are not in order
  std::vector<InputRuns> o_runs_;                      // [layers] or empty
  std::map<std::string, std::string> behind_outputs_;  // module -> whose inputs its outputs become
  std::map<std::pair<LinearKind, int64_t>, std::string> first_part_;  // of a linear
};

// The group that scales are kept for: every group of 128 repeats a larger one that is a multiple of
// it, so that kernels meet few sizes and int8 activations are scaled over 128 inputs.
int64_t KeptGroup(int64_t stored_group);
// How a linear is kept that is packed so, its inputs in the order of their groups.
KeptLinear KeptOf(const QuantizationConfig& config, bool has_f16_scales);

std::string StoredTensorName(const std::string& module, const char* suffix);

}  // namespace octet::worker
