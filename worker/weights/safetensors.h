// One safetensors file: a table of tensors and bounded reads of their bytes. The header is checked
// whole before anything else is believed: see worker/weights/README.md for the list. Calls from
// several threads at a time are allowed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/file.h"
#include "base/status.h"

namespace octet::worker {

inline constexpr int64_t kHeaderBytesMax = 100'000'000;
inline constexpr int64_t kTensorsMax = 500'000;
inline constexpr int64_t kTensorRankMax = 8;
inline constexpr int64_t kTensorNameBytesMax = 1024;

struct TensorInfo {
  std::string name;
  std::array<int64_t, kTensorRankMax> dims = {};
  int64_t rank = 0;
  int64_t begin = 0;  // bytes from the start of the file's data
  int64_t end = 0;
  uint8_t type = 0;  // an entry of the format's table of element types

  std::string_view type_name() const;
  std::optional<DType> dtype() const;  // none: a type that nothing here reads
  std::string shape_text() const;      // "[4, 8]"
};

class SafetensorsFile {
 public:
  // `name` stands for the file in messages.
  static Result<SafetensorsFile> Open(const std::string& path, const std::string& name);

  const std::string& name() const { return file_.name(); }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // sorted by name
  const TensorInfo* Find(std::string_view tensor) const;
  // Bytes [offset, offset + count) of a tensor of this file. REQUIRES: they lie inside the tensor.
  Status Read(const TensorInfo& tensor, int64_t offset, int64_t count, std::byte* out) const;
  Status CheckUnchanged() const { return file_.CheckUnchanged(); }
  std::string Identity() const { return file_.Identity(); }

 private:
  explicit SafetensorsFile(ReadOnlyFile file) : file_(std::move(file)) {}
  ReadOnlyFile file_;
  int64_t data_begin_ = 0;
  std::vector<TensorInfo> tensors_;
};

}  // namespace octet::worker
