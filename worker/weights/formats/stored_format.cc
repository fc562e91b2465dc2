#include "worker/weights/formats/stored_format.h"

#include <cmath>
#include <cstring>

#include "base/check.h"

namespace octet::worker {

uint32_t StagedTensor::Word(int64_t row, int64_t col) const {
  uint32_t word = 0;
  std::memcpy(&word, bytes + At(row, col) * 4, sizeof word);
  return word;
}

float StagedTensor::Float(int64_t row, int64_t col) const {
  const std::byte* from = bytes + At(row, col) * DTypeBytes(type);
  if (type == DType::kF32) {
    float value = 0;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  uint16_t half = 0;
  std::memcpy(&half, from, sizeof half);
  return type == DType::kF16 ? F16ToFloat(half) : BF16ToFloat(half);
}

void StoredFormat::Spread(uint32_t word, int64_t first, int64_t count, uint8_t* to) const {
  word >>= first * config_.bits;
  for (int64_t i = 0; i < count; ++i, word >>= config_.bits) {
    to[i] = static_cast<uint8_t>(word & code_mask());
  }
}

std::optional<StoredFault> StoredFormat::StoreScale(const StagedTensor& scales, size_t tensor,
                                                    int64_t row, int64_t col, int64_t zero,
                                                    const StoredRows& rows, int64_t at) const {
  const float scale = scales.Float(row, col);
  const auto place = [&] { return "[" + std::to_string(row) + ", " + std::to_string(col) + "]"; };
  if (!std::isfinite(scale)) {
    return StoredFault{tensor, "infinity or NaN at " + place() + ", expected a finite scale"};
  }
  rows.scales[at] = scale;
  if (rows.offsets == nullptr) return std::nullopt;
  const float offset = -static_cast<float>(zero) * scale;
  // Scales of f16 and bf16 always pass: their bits and those of a zero point fit a float.
  if (std::fma(static_cast<float>(zero), scale, offset) != 0.0f || !std::isfinite(offset)) {
    return StoredFault{tensor, "the scale at " + place() + " times the zero point " +
                                   std::to_string(zero) + " is no float, expected scales of F16 " +
                                   "or BF16"};
  }
  rows.offsets[at] = offset;
  return std::nullopt;
}

std::unique_ptr<StoredFormat> MakeStoredFormat(const QuantizationConfig& config) {
  switch (config.method) {
    case QuantizationMethod::kGptq:
      return MakeGptqFormat(config);
    case QuantizationMethod::kAwq:
      return MakeAwqFormat(config);
    case QuantizationMethod::kPackQuantized:
      return MakePackQuantizedFormat(config);
    case QuantizationMethod::kIntQuantized:
    case QuantizationMethod::kSmoothQuant:
      return MakeInt8Format(config);
    case QuantizationMethod::kQoq:
      return MakeQoqFormat(config);
  }
  OCTET_CHECK_EQ(static_cast<int>(config.method), -1);
  return nullptr;
}

}  // namespace octet::worker
