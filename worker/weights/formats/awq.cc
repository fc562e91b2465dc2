// AWQ in AutoAWQ's GEMM packing, 4 bits. Of a linear [outputs, inputs]:
//
//   qweight [inputs, outputs / 8]  I32
//   qzeros  [groups, outputs / 8]  I32
//   scales  [groups, outputs]
//
// Words hold eight outputs of one input; output j of them is nibble kNibbleOf[j]. Zero points are
// stored as they are.
#include "worker/weights/formats/stored_format.h"

namespace octet::worker {
namespace {

enum : size_t { kQWeight, kQZeros, kScales };
constexpr int64_t kPerWord = 8;
constexpr int kNibbleOf[kPerWord] = {0, 4, 1, 5, 2, 6, 3, 7};

class AwqFormat final : public StoredFormat {
 public:
  using StoredFormat::StoredFormat;

  std::vector<StoredTensorSpec> Tensors(int64_t outputs, int64_t inputs) const override {
    const int64_t groups = group_count(inputs);
    const int64_t words = (outputs + kPerWord - 1) / kPerWord;
    return {{"qweight", {DType::kI32}, {inputs, words}},
            {"qzeros", {DType::kI32}, {groups, words}},
            {"scales", {DType::kF16, DType::kBF16, DType::kF32}, {groups, outputs}}};
  }

  const char* GroupNumbers() const override { return nullptr; }
  size_t ScaleTensor() const override { return kScales; }

  MatrixSlice SliceOf(size_t tensor, const StoredBlock& block) const override {
    const MatrixSlice& w = block.weights;
    if (tensor == kScales) return {block.group_begin, block.group_end, w.row_begin, w.row_end};
    const int64_t begin = w.row_begin / kPerWord;
    const int64_t end = (w.row_end + kPerWord - 1) / kPerWord;
    if (tensor == kQWeight) return {w.col_begin, w.col_end, begin, end};
    return {block.group_begin, block.group_end, begin, end};
  }

  std::optional<StoredFault> Unpack(const StagedModule& staged, const StoredBlock& block,
                                    const StoredRows& rows) const override {
    UnpackCodes(staged[kQWeight], block, rows);
    for (int64_t group = block.group_begin; group < block.group_end; ++group) {
      for (int64_t row = rows.row_begin; row < rows.row_end; ++row) {
        const int64_t at = (row - rows.row_begin) * block.groups() + (group - block.group_begin);
        auto fault = StoreScale(staged[kScales], kScales, group, row,
                                Code(staged[kQZeros], group, row), rows, at);
        if (fault.has_value()) return fault;
      }
    }
    return std::nullopt;
  }

 private:
  static void UnpackCodes(const StagedTensor& words, const StoredBlock& block,
                          const StoredRows& rows) {
    const int64_t inputs = block.weights.cols();
    for (int64_t input = 0; input < inputs; ++input) {
      for (int64_t row = rows.row_begin; row < rows.row_end;) {
        const int64_t word = row / kPerWord;
        const uint32_t bits = words.Word(block.weights.col_begin + input, word);
        for (; row < rows.row_end && row / kPerWord == word; ++row) {
          rows.codes[(row - rows.row_begin) * inputs + input] =
              static_cast<uint8_t>(bits >> (4 * kNibbleOf[row % kPerWord]) & 15);
        }
      }
    }
  }

  static uint8_t Code(const StagedTensor& words, int64_t row, int64_t output) {
    const uint32_t word = words.Word(row, output / kPerWord);
    return static_cast<uint8_t>(word >> (4 * kNibbleOf[output % kPerWord]) & 15);
  }
};

}  // namespace

std::unique_ptr<StoredFormat> MakeAwqFormat(const QuantizationConfig& config) {
  return std::make_unique<AwqFormat>(config);
}

}  // namespace octet::worker
