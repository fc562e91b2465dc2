// Writes safetensors files, good ones from tensors and bad ones from any header text.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace octet::test {

struct StoredTensor {
  std::string name;
  std::string type;  // "F32", "BF16", ...
  std::vector<int64_t> shape;
  std::string bytes;
};

// Length, header, data: whatever they are.
inline std::string RawSafetensors(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + data;
}

// A well-formed file; the header is padded with spaces to a multiple of eight, as writers do.
inline std::string Safetensors(const std::vector<StoredTensor>& tensors) {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}";
  std::string data;
  for (const StoredTensor& tensor : tensors) {
    header += ",\"" + tensor.name + "\":{\"dtype\":\"" + tensor.type + "\",\"shape\":[";
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      if (i > 0) header += ',';
      header += std::to_string(tensor.shape[i]);
    }
    header += "],\"data_offsets\":[" + std::to_string(data.size()) + ",";
    data += tensor.bytes;
    header += std::to_string(data.size()) + "]}";
  }
  header += "}";
  while (header.size() % 8 != 0) header += ' ';
  return RawSafetensors(header, data);
}

// The bytes of `values` stored as `dtype`.
inline std::string StoredBytes(DType dtype, const std::vector<float>& values) {
  std::string bytes(values.size() * DTypeBytes(dtype), '\0');
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kF32) {
      std::memcpy(bytes.data() + 4 * i, &values[i], 4);
      continue;
    }
    const uint16_t half = dtype == DType::kF16 ? FloatToF16(values[i]) : FloatToBF16(values[i]);
    std::memcpy(bytes.data() + 2 * i, &half, 2);
  }
  return bytes;
}

}  // namespace octet::test
