#include "worker/model/tensor_names.h"

#include <algorithm>

#include "base/check.h"

namespace octet::worker {

std::string OfLayer(std::string name, int64_t layer) {
  const size_t at = name.find("{}");
  if (at == std::string::npos) return name;
  return name.replace(at, 2, std::to_string(layer));
}

std::vector<ModuleRows> RowsOf(const RowSlot& slot, int64_t layer, int64_t begin, int64_t end) {
  OCTET_CHECK(slot.block >= 0 && slot.block <= slot.stride);
  const std::string module = OfLayer(slot.module, layer);
  if (slot.block == slot.stride) return {{module, slot.first + begin, slot.first + end}};
  std::vector<ModuleRows> runs;
  while (begin < end) {
    const int64_t in_block = begin % slot.block;
    const int64_t count = std::min(slot.block - in_block, end - begin);
    const int64_t row = slot.first + begin / slot.block * slot.stride + in_block;
    runs.push_back({module, row, row + count});
    begin += count;
  }
  return runs;
}

}  // namespace octet::worker
