// Where a checkpoint keeps the tensors of a model. The decoder knows logical parts (q, k, v, gate,
// ...); a file knows modules ("model.layers.3.attention.wqkv"). Every part is one or several runs
// of rows of one module, whatever the module is stored as: its rows are those of `module.weight`,
// the elements of `module.bias`, and the outputs of a quantized form (`module.qweight`, ...). A
// reader of any format slices the same rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace octet::worker {

// The rows of one part: blocks of `block` rows, the first at row `first`, each `stride` rows after
// the one before. block 0: one run.
struct RowSlot {
  std::string module;  // `{}` stands for the layer; without ".weight" / ".bias"
  int64_t first = 0;
  int64_t block = 0;
  int64_t stride = 0;
};

// Rows [begin, end) of a module.
struct ModuleRows {
  std::string module;
  int64_t begin = 0;
  int64_t end = 0;
};

// Rows [begin, end) of the part in the module of `layer`: consecutive runs, in the part's order.
std::vector<ModuleRows> RowsOf(const RowSlot& slot, int64_t layer, int64_t begin, int64_t end);

// Parts that name one module (q, k, v) together are all of its rows.
struct TensorNames {
  std::string embedding, final_norm, head;
  std::string positions;  // of a learned position table
  std::string attention_norm, mlp_norm;
  std::string q_norm, k_norm;          // where heads have norms
  RowSlot q, k, v, o, gate, up, down;  // no gate where the MLP has none
};

// The name with the layer's number for `{}`, if there is one.
std::string OfLayer(std::string name, int64_t layer);

}  // namespace octet::worker
