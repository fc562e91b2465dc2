// GPTQ as AutoGPTQ and GPTQModel write it. Of a linear [outputs, inputs], `per` codes to a word:
//
//   qweight [inputs / per, outputs]  I32, code k in word k / per, low bits first
//   qzeros  [groups, outputs / per]  I32, likewise along outputs
//   scales  [groups, outputs]
//   g_idx   [inputs]                 I32, read by whoever calls
//
// Format "gptq" stores zero points less one. GPTQModel, and so transformers, adds 0x11111111 to the
// whole word, which undoes what its own packer takes away, borrows included; so do we. The rule
// only matters for words with a code of all ones, which stand for a zero point of 0: they are
// counted, because other readers take 2^bits, and because AutoGPTQ's packer spoils what lies above
// them.
#include <algorithm>

#include "worker/weights/formats/stored_format.h"

namespace octet::worker {
namespace {

enum : size_t { kQWeight, kQZeros, kScales };

std::string Hex(uint32_t word) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string text = "0x";
  for (int shift = 28; shift >= 0; shift -= 4) text += kDigits[word >> shift & 15];
  return text;
}

class GptqFormat final : public StoredFormat {
 public:
  using StoredFormat::StoredFormat;

  std::vector<StoredTensorSpec> Tensors(int64_t outputs, int64_t inputs) const override {
    const int64_t groups = group_count(inputs);
    const int64_t per = codes_per_word();
    return {{"qweight", {DType::kI32}, {(inputs + per - 1) / per, outputs}},
            {"qzeros", {DType::kI32}, {groups, (outputs + per - 1) / per}},
            {"scales", {DType::kF16, DType::kBF16, DType::kF32}, {groups, outputs}}};
  }

  const char* GroupNumbers() const override { return "g_idx"; }
  size_t ScaleTensor() const override { return kScales; }

  MatrixSlice SliceOf(size_t tensor, const StoredBlock& block) const override {
    const MatrixSlice& w = block.weights;
    const int64_t per = codes_per_word();
    if (tensor == kQWeight) {
      return {w.col_begin / per, (w.col_end + per - 1) / per, w.row_begin, w.row_end};
    }
    const int64_t each = tensor == kQZeros ? per : 1;
    return {block.group_begin, block.group_end, w.row_begin / each, (w.row_end + each - 1) / each};
  }

  std::optional<StoredFault> Unpack(const StagedModule& staged, const StoredBlock& block,
                                    const StoredRows& rows) const override {
    UnpackCodes(staged[kQWeight], block, rows);
    for (int64_t group = block.group_begin; group < block.group_end; ++group) {
      auto fault = UnpackGroup(staged, block, group, rows);
      if (fault.has_value()) return fault;
    }
    return std::nullopt;
  }

 private:
  void UnpackCodes(const StagedTensor& words, const StoredBlock& block,
                   const StoredRows& rows) const {
    const int64_t per = codes_per_word();
    const int64_t begin = block.weights.col_begin;
    const int64_t end = block.weights.col_end;
    const int64_t inputs = block.weights.cols();
    for (int64_t word = begin / per; word * per < end; ++word) {
      const int64_t first = std::max(begin, word * per);
      const int64_t last = std::min(end, (word + 1) * per);
      for (int64_t row = rows.row_begin; row < rows.row_end; ++row) {
        Spread(words.Word(word, row), first - word * per, last - first,
               rows.codes + (row - rows.row_begin) * inputs + (first - begin));
      }
    }
  }

  std::optional<StoredFault> UnpackGroup(const StagedModule& staged, const StoredBlock& block,
                                         int64_t group, const StoredRows& rows) const {
    const int64_t per = codes_per_word();
    for (int64_t row = rows.row_begin; row < rows.row_end;) {
      const int64_t word = row / per;
      const uint32_t stored = staged[kQZeros].Word(group, word);
      const uint32_t zeros = config_.zero_less_one ? stored + ones() : stored;
      if (config_.symmetric && zeros != ones() * static_cast<uint32_t>(middle())) {
        const uint32_t expected = ones() * static_cast<uint32_t>(middle());
        return StoredFault{kQZeros, Hex(stored) + " at [" + std::to_string(group) + ", " +
                                        std::to_string(word) + "], expected " +
                                        Hex(config_.zero_less_one ? expected - ones() : expected) +
                                        " of a symmetric checkpoint in format \"" +
                                        (config_.zero_less_one ? "gptq" : "gptq_v2") + "\""};
      }
      if (config_.zero_less_one) CountAmbiguous(stored, word * per >= rows.row_begin, rows);
      for (; row < rows.row_end && row / per == word; ++row) {
        const int64_t zero = zeros >> ((row - word * per) * config_.bits) & code_mask();
        const int64_t at = (row - rows.row_begin) * block.groups() + (group - block.group_begin);
        auto fault = StoreScale(staged[kScales], kScales, group, row, zero, rows, at);
        if (fault.has_value()) return fault;
      }
    }
    return std::nullopt;
  }

  // 1 in every code.
  uint32_t ones() const { return config_.bits == 4 ? 0x11111111u : 0x01010101u; }

  // A word is counted once, where its first output is.
  void CountAmbiguous(uint32_t word, bool is_first, const StoredRows& rows) const {
    if (!is_first || rows.oddities == nullptr) return;
    for (int64_t shift = 0; shift < 32; shift += config_.bits) {
      if ((word >> shift & code_mask()) != code_mask()) continue;
      ++rows.oddities->ambiguous_zero_words;
      return;
    }
  }
};

}  // namespace

std::unique_ptr<StoredFormat> MakeGptqFormat(const QuantizationConfig& config) {
  return std::make_unique<GptqFormat>(config);
}

}  // namespace octet::worker
