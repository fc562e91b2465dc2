// QoQ, the 4-bit weights of QServe, as convert_qoq.py writes them from quant_model.pt. Of a linear
// [outputs, inputs], both multiples of 32, and groups of 128 inputs or one a row:
//
//   qweight    I8 [outputs / 32, inputs * 16]  a row holds tiles of 32 outputs by 32 inputs, 512
//                                              bytes each, in the order of tensor core fragments
//   s1_scales  [outputs]
//   s1_szeros  [outputs]            one group a row: w = code * s1_scale - s1_szero
//   s2_scales  I8 [groups, outputs] groups: w = (code * s2_scale + s2_zero) * s1_scale, the
//   s2_zeros   I8 [groups, outputs] bracket in 8 bits with a sign, that is modulo 256
//
// The columns of s2 tensors are permuted in tiles of 32 outputs. Layouts: formats.md of the
// project's design, from omniserve and deepcompressor.
#include <algorithm>
#include <cmath>

#include "worker/weights/formats/stored_format.h"

namespace octet::worker {
namespace {

constexpr int64_t kTile = 32;
constexpr int64_t kTileBytes = 512;

enum : size_t { kCodes, kScale, kZero, kGroupScale = kZero, kGroupZero };

// The byte of a tile that holds an output and an input: outputs below 16 are low nibbles.
int64_t ByteOf(int64_t output, int64_t input) {
  return output % 8 * 64 + input / 4 % 4 * 16 + input / 16 * 8 + output / 8 % 2 * 4 + input % 4;
}

// The column of an s2 tensor that belongs to an output.
int64_t ColumnOf(int64_t output) {
  const int64_t row = output % kTile;
  return output / kTile * kTile + row % 8 * 4 + row / 8;
}

class QoqFormat final : public StoredFormat {
 public:
  using StoredFormat::StoredFormat;

  std::vector<StoredTensorSpec> Tensors(int64_t outputs, int64_t inputs) const override {
    const std::vector<DType> floats = {DType::kF16, DType::kBF16};
    const int64_t groups = group_count(inputs);
    const std::vector<int64_t> tiles = {(outputs + kTile - 1) / kTile,
                                        (inputs + kTile - 1) / kTile * kTileBytes};
    if (config_.group == 0) {
      return {{"qweight", {DType::kI8}, tiles},
              {"s1_scales", floats, {outputs}},
              {"s1_szeros", floats, {outputs}}};
    }
    return {{"qweight", {DType::kI8}, tiles},
            {"s1_scales", floats, {outputs}},
            {"s2_scales", {DType::kI8}, {groups, outputs}},
            {"s2_zeros", {DType::kI8}, {groups, outputs}}};
  }

  const char* GroupNumbers() const override { return nullptr; }
  size_t ScaleTensor() const override { return kScale; }

  MatrixSlice SliceOf(size_t tensor, const StoredBlock& block) const override {
    const MatrixSlice& w = block.weights;
    const int64_t tile_begin = w.row_begin / kTile;
    const int64_t tile_end = (w.row_end + kTile - 1) / kTile;
    if (tensor == kCodes) {
      return {tile_begin, tile_end, w.col_begin / kTile * kTileBytes,
              (w.col_end + kTile - 1) / kTile * kTileBytes};
    }
    if (tensor == kScale || config_.group == 0) return {0, 1, w.row_begin, w.row_end};
    return {block.group_begin, block.group_end, tile_begin * kTile, tile_end * kTile};
  }

  std::optional<StoredFault> Unpack(const StagedModule& staged, const StoredBlock& block,
                                    const StoredRows& rows) const override {
    const MatrixSlice& w = block.weights;
    for (int64_t row = rows.row_begin; row < rows.row_end; ++row) {
      const int64_t out = row - rows.row_begin;
      uint8_t* const codes = rows.codes + out * w.cols();
      const int shift = row % kTile < kTile / 2 ? 0 : 4;
      for (int64_t col = w.col_begin; col < w.col_end; ++col) {
        const int byte = staged[kCodes].Byte(
            row / kTile, col / kTile * kTileBytes + ByteOf(row % kTile, col % kTile));
        codes[col - w.col_begin] = static_cast<uint8_t>(byte >> shift & 0x0f);
      }
      float* const scales = rows.scales + out * block.groups();
      float* const offsets = rows.offsets + out * block.groups();
      const auto fault = config_.group == 0
                             ? StoreRow(staged, block, row, scales, offsets)
                             : StoreGroups(staged, block, row, codes, scales, offsets);
      if (fault.has_value()) return fault;
    }
    return std::nullopt;
  }

 private:
  static std::optional<StoredFault> NotFinite(size_t tensor, int64_t row) {
    return StoredFault{tensor, "infinity or NaN at [" + std::to_string(row) + "]"};
  }

  std::optional<StoredFault> StoreRow(const StagedModule& staged, const StoredBlock& block,
                                      int64_t row, float* scales, float* offsets) const {
    const float scale = staged[kScale].Float(0, row);
    const float zero = staged[kZero].Float(0, row);
    if (!std::isfinite(scale)) return NotFinite(kScale, row);
    if (!std::isfinite(zero)) return NotFinite(kZero, row);
    std::fill(scales, scales + block.groups(), scale);
    std::fill(offsets, offsets + block.groups(), -zero);
    return std::nullopt;
  }

  // A zero of a group is known modulo 256: the one is meant that leaves all codes of the group
  // within 8 bits. Products with s1_scale fit a float: 11 bits and 8 or 9.
  std::optional<StoredFault> StoreGroups(const StagedModule& staged, const StoredBlock& block,
                                         int64_t row, const uint8_t* codes, float* scales,
                                         float* offsets) const {
    const float scale = staged[kScale].Float(0, row);
    if (!std::isfinite(scale)) return NotFinite(kScale, row);
    const MatrixSlice& w = block.weights;
    for (int64_t group = block.group_begin; group < block.group_end; ++group) {
      const int64_t begin = std::max(group * config_.group, w.col_begin);
      const int64_t end = std::min((group + 1) * config_.group, w.col_end);
      const auto [least, most] =
          std::minmax_element(codes + (begin - w.col_begin), codes + (end - w.col_begin));
      const int step = staged[kGroupScale].Byte(group, ColumnOf(row));
      int zero = staged[kGroupZero].Byte(group, ColumnOf(row));
      while (*least * step + zero < -128) zero += 256;
      while (*most * step + zero > 127) zero -= 256;
      if (step < 0 || *least * step + zero < -128) {
        return StoredFault{kGroupScale, "scale " + std::to_string(step) + " of group " +
                                            std::to_string(group) + " and output " +
                                            std::to_string(row) +
                                            " leads beyond 8 bits, which its codes must fit"};
      }
      scales[group - block.group_begin] = static_cast<float>(step) * scale;
      offsets[group - block.group_begin] = static_cast<float>(zero) * scale;
    }
    return std::nullopt;
  }
};

}  // namespace

std::unique_ptr<StoredFormat> MakeQoqFormat(const QuantizationConfig& config) {
  return std::make_unique<QoqFormat>(config);
}

}  // namespace octet::worker
