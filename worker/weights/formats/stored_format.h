// One packed format of quantized linears: which tensors a module has, which parts of them a block
// of its weights takes, and how their bytes become codes, scales and offsets. Pure functions of
// bytes: no file, no shard and no kernel is known here, so a format is tested by itself. One file
// per format; the table that joins them is in stored_format.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "worker/weights/formats/quantization_config.h"
#include "worker/weights/matrix_slice.h"

namespace octet::worker {

// A tensor of a module: MODULE.suffix.
struct StoredTensorSpec {
  const char* suffix = "";
  std::vector<DType> types;  // any of these
  std::vector<int64_t> dims;
  bool required = true;
};

// A block of a module's weights: outputs [row_begin, row_end), inputs [col_begin, col_end) in the
// order of the file, and the groups that are wanted for them.
struct StoredBlock {
  MatrixSlice weights;
  int64_t group_begin = 0;
  int64_t group_end = 0;
  int64_t groups() const { return group_end - group_begin; }
};

// What was read for a block: for each tensor of StoredFormat::Tensors, SliceOf of it, dense. No
// bytes for a tensor that is not there.
struct StagedTensor {
  DType type = DType::kI32;
  MatrixSlice slice;
  const std::byte* bytes = nullptr;

  // REQUIRES: `row` and `col` are in the slice.
  uint32_t Word(int64_t row, int64_t col) const;
  float Float(int64_t row, int64_t col) const;
  int8_t Byte(int64_t row, int64_t col) const { return static_cast<int8_t>(bytes[At(row, col)]); }
  int64_t At(int64_t row, int64_t col) const {
    return (row - slice.row_begin) * slice.cols() + (col - slice.col_begin);
  }
};
using StagedModule = std::vector<StagedTensor>;

// What is wrong with a value: of which tensor, and what.
struct StoredFault {
  size_t tensor = 0;
  std::string text;
};

// What is odd about a module and yet is read.
struct StoredOddities {
  int64_t ambiguous_zero_words = 0;
};

// Rows of weights, w = scale * code + offset; the caller's memory.
struct StoredRows {
  int64_t row_begin = 0;  // outputs of the module, inside the block
  int64_t row_end = 0;
  uint8_t* codes = nullptr;  // [rows, inputs of the block]
  float* scales = nullptr;   // [rows, groups of the block]
  float* offsets = nullptr;  // likewise; null where the config says that it is symmetric
  StoredOddities* oddities = nullptr;
};

class StoredFormat {
 public:
  explicit StoredFormat(const QuantizationConfig& config) : config_(config) {}
  virtual ~StoredFormat() = default;

  // Of a module [outputs, inputs]. The first is there if and only if the module is quantized.
  virtual std::vector<StoredTensorSpec> Tensors(int64_t outputs, int64_t inputs) const = 0;
  // The suffix of the group number of every input, I32 [inputs]; null: the format has none.
  virtual const char* GroupNumbers() const = 0;
  // The part of that tensor that a block needs. Words that a block shares with others are whole.
  virtual MatrixSlice SliceOf(size_t tensor, const StoredBlock& block) const = 0;
  // Exactly what is stored; offsets are -zero * scale.
  virtual std::optional<StoredFault> Unpack(const StagedModule& staged, const StoredBlock& block,
                                            const StoredRows& rows) const = 0;
  // The tensor that holds the scales, an index of Tensors.
  virtual size_t ScaleTensor() const = 0;

  const QuantizationConfig& config() const { return config_; }
  int64_t group_inputs(int64_t inputs) const { return config_.group == 0 ? inputs : config_.group; }
  int64_t group_count(int64_t inputs) const {
    return (inputs + group_inputs(inputs) - 1) / group_inputs(inputs);
  }

 protected:
  // Reads a scale and forms the offset of a zero point. A fault names `tensor`.
  std::optional<StoredFault> StoreScale(const StagedTensor& scales, size_t tensor, int64_t row,
                                        int64_t col, int64_t zero, const StoredRows& rows,
                                        int64_t at) const;
  // Codes [first, first + count) of a word whose codes lie low bits first.
  void Spread(uint32_t word, int64_t first, int64_t count, uint8_t* to) const;
  int64_t codes_per_word() const { return 32 / config_.bits; }
  uint32_t code_mask() const { return (1u << config_.bits) - 1; }
  int64_t middle() const { return int64_t{1} << (config_.bits - 1); }

  QuantizationConfig config_;
};

std::unique_ptr<StoredFormat> MakeGptqFormat(const QuantizationConfig& config);
std::unique_ptr<StoredFormat> MakeAwqFormat(const QuantizationConfig& config);
std::unique_ptr<StoredFormat> MakePackQuantizedFormat(const QuantizationConfig& config);
std::unique_ptr<StoredFormat> MakeInt8Format(const QuantizationConfig& config);
std::unique_ptr<StoredFormat> MakeQoqFormat(const QuantizationConfig& config);
std::unique_ptr<StoredFormat> MakeStoredFormat(const QuantizationConfig& config);

}  // namespace octet::worker
