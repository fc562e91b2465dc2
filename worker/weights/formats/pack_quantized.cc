// compressed-tensors, pack-quantized. Of a linear [outputs, inputs], `per` codes to a word:
//
//   weight_packed     [outputs, inputs / per]  I32, code k in word k / per, low bits first
//   weight_scale      [outputs, groups]
//   weight_zero_point [outputs / per, groups]  I32, likewise along outputs
//   weight_g_idx      [inputs]                 I32, read by whoever calls
//   weight_shape      [2]                      outputs, inputs; their place is the tensors' shapes
//
// Codes and zero points are signed numbers with 2^(bits-1) added, so they are taken as they lie.
#include <algorithm>

#include "worker/weights/formats/stored_format.h"

namespace octet::worker {
namespace {

enum : size_t { kPacked, kScale, kZeroPoint };

class PackQuantizedFormat final : public StoredFormat {
 public:
  using StoredFormat::StoredFormat;

  std::vector<StoredTensorSpec> Tensors(int64_t outputs, int64_t inputs) const override {
    const int64_t groups = group_count(inputs);
    const int64_t per = codes_per_word();
    std::vector<StoredTensorSpec> tensors = {
        {"weight_packed", {DType::kI32}, {outputs, (inputs + per - 1) / per}},
        {"weight_scale", {DType::kF16, DType::kBF16, DType::kF32}, {outputs, groups}}};
    if (!config_.symmetric) {
      tensors.push_back({"weight_zero_point", {DType::kI32}, {(outputs + per - 1) / per, groups}});
    }
    tensors.push_back({"weight_shape", {DType::kI32, DType::kI64}, {2}, false});
    return tensors;
  }

  const char* GroupNumbers() const override { return "weight_g_idx"; }
  size_t ScaleTensor() const override { return kScale; }

  MatrixSlice SliceOf(size_t tensor, const StoredBlock& block) const override {
    const MatrixSlice& w = block.weights;
    const int64_t per = codes_per_word();
    if (tensor == kPacked) {
      return {w.row_begin, w.row_end, w.col_begin / per, (w.col_end + per - 1) / per};
    }
    if (tensor == kScale) return {w.row_begin, w.row_end, block.group_begin, block.group_end};
    if (tensor == kZeroPoint && !config_.symmetric) {
      return {w.row_begin / per, (w.row_end + per - 1) / per, block.group_begin, block.group_end};
    }
    return {};  // the shape is checked by whoever reads headers
  }

  std::optional<StoredFault> Unpack(const StagedModule& staged, const StoredBlock& block,
                                    const StoredRows& rows) const override {
    const int64_t per = codes_per_word();
    const int64_t begin = block.weights.col_begin;
    const int64_t end = block.weights.col_end;
    const int64_t inputs = block.weights.cols();
    for (int64_t row = rows.row_begin; row < rows.row_end; ++row) {
      uint8_t* codes = rows.codes + (row - rows.row_begin) * inputs - begin;
      for (int64_t first = begin; first < end;) {
        const int64_t word = first / per;
        const int64_t last = std::min(end, (word + 1) * per);
        Spread(staged[kPacked].Word(row, word), first - word * per, last - first, codes + first);
        first = last;
      }
      for (int64_t group = block.group_begin; group < block.group_end; ++group) {
        int64_t zero = middle();
        if (!config_.symmetric) {
          zero =
              staged[kZeroPoint].Word(row / per, group) >> (row % per * config_.bits) & code_mask();
        }
        const int64_t at = (row - rows.row_begin) * block.groups() + (group - block.group_begin);
        auto fault = StoreScale(staged[kScale], kScale, row, group, zero, rows, at);
        if (fault.has_value()) return fault;
      }
    }
    return std::nullopt;
  }
};

}  // namespace

std::unique_ptr<StoredFormat> MakePackQuantizedFormat(const QuantizationConfig& config) {
  return std::make_unique<PackQuantizedFormat>(config);
}

}  // namespace octet::worker
