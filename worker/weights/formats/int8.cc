// int8 weights beside their scales, as exporters of SmoothQuant models write them. Of a linear
// [outputs, inputs], w = weight * scale of the output:
//
//   compressed-tensors, int-quantized          LMDeploy, smooth_quant
//   weight            I8 [outputs, inputs]     weight  I8 [outputs, inputs]
//   weight_scale      [outputs, 1]             scale   [outputs, 1]
//                     or [1] for all outputs
//   weight_zero_point I8, like weight_scale
//   input_scale       [1], of static activations, and input_zero_point; not read
//
// The scale comes first: it says that a module is quantized, which a `weight` does not.
#include "worker/weights/formats/stored_format.h"

namespace octet::worker {
namespace {

enum : size_t { kScale, kWeight, kZeroPoint };
constexpr int kMiddle = 128;  // codes are unsigned

class Int8Format final : public StoredFormat {
 public:
  using StoredFormat::StoredFormat;

  std::vector<StoredTensorSpec> Tensors(int64_t outputs, int64_t inputs) const override {
    const std::vector<DType> floats = {DType::kF16, DType::kBF16, DType::kF32};
    std::vector<int64_t> of_scale = {outputs, 1};
    if (config_.one_scale) of_scale = {1};
    if (config_.method == QuantizationMethod::kSmoothQuant) {
      return {{"scale", floats, of_scale}, {"weight", {DType::kI8}, {outputs, inputs}}};
    }
    return {{"weight_scale", floats, of_scale},
            {"weight", {DType::kI8}, {outputs, inputs}},
            {"weight_zero_point", {DType::kI8}, of_scale, !config_.symmetric},
            {"input_scale", floats, {1}, config_.static_activations},
            {"input_zero_point", {DType::kI8}, {1}, false}};
  }

  const char* GroupNumbers() const override { return nullptr; }
  size_t ScaleTensor() const override { return kScale; }

  MatrixSlice SliceOf(size_t tensor, const StoredBlock& block) const override {
    if (tensor == kWeight) return block.weights;
    if (tensor > kZeroPoint) return {};
    if (config_.one_scale) return {0, 1, 0, 1};
    return {block.weights.row_begin, block.weights.row_end, 0, 1};
  }

  std::optional<StoredFault> Unpack(const StagedModule& staged, const StoredBlock& block,
                                    const StoredRows& rows) const override {
    const MatrixSlice& w = block.weights;
    const bool has_zeros = staged.size() > kZeroPoint && staged[kZeroPoint].bytes != nullptr;
    for (int64_t row = rows.row_begin; row < rows.row_end; ++row) {
      const int64_t out = row - rows.row_begin;
      uint8_t* codes = rows.codes + out * w.cols();
      for (int64_t col = w.col_begin; col < w.col_end; ++col) {
        *codes++ = static_cast<uint8_t>(staged[kWeight].Byte(row, col) + kMiddle);
      }
      const int64_t of_scale = config_.one_scale ? 0 : row;
      const int zero = has_zeros ? staged[kZeroPoint].Byte(of_scale, 0) : 0;
      if (config_.symmetric && zero != 0) {
        return StoredFault{kZeroPoint, "zero point " + std::to_string(zero) + " of output " +
                                           std::to_string(row) +
                                           ", expected 0 as the weights are symmetric"};
      }
      for (int64_t group = 0; group < block.groups(); ++group) {
        auto fault = StoreScale(staged[kScale], kScale, of_scale, 0, zero + kMiddle, rows,
                                out * block.groups() + group);
        if (fault.has_value()) return fault;
      }
    }
    return std::nullopt;
  }
};

}  // namespace

std::unique_ptr<StoredFormat> MakeInt8Format(const QuantizationConfig& config) {
  return std::make_unique<Int8Format>(config);
}

}  // namespace octet::worker
