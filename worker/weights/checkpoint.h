// A model's folder as Hugging Face lays it out: config.json and one or more safetensors files. Owns
// the open files. Reads nothing but what it is asked for; calls from several threads are allowed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "worker/weights/formats/quantization_config.h"
#include "worker/weights/matrix_slice.h"
#include "worker/weights/safetensors.h"

namespace octet::worker {

inline constexpr int64_t kCheckpointFilesMax = 512;

class Checkpoint {
 public:
  struct Tensor {
    const TensorInfo* info = nullptr;
    int32_t file = 0;
  };

  // Opens every file and checks every header, and that index and files agree. The files named in
  // the index are plain names, and links may not lead out of the folder (but to the blobs of the
  // Hugging Face cache that a snapshot belongs to).
  static Result<Checkpoint> Open(const std::string& folder);

  const std::string& config_json() const { return config_json_; }
  const std::optional<std::string>& generation_config_json() const {
    return generation_config_json_;
  }
  // What the files beside config.json and it say of quantization.
  const QuantizationTexts& quantization() const { return quantization_; }
  const std::vector<Tensor>& tensors() const { return tensors_; }  // sorted by name
  const Tensor* Find(std::string_view name) const;
  const std::string& FileOf(const Tensor& tensor) const { return files_[tensor.file].name(); }

  // out = [slice.rows(), slice.cols()] dense, as stored. Only the slice's bytes are read, and gaps
  // between them that are at most a twentieth of what they lie between. REQUIRES: a readable dtype,
  // rank 1 or 2, a slice inside the tensor.
  Status ReadRows(const Tensor& tensor, const MatrixSlice& slice, std::byte* out) const;

  // All of a small tensor of any rank, as it is stored.
  Status ReadWhole(const Tensor& tensor, std::byte* out) const;

  // Files beside config.json, by plain names: whether there is one (or a link of that name), and
  // the file, which may not lie outside of the folder.
  bool HasFile(const std::string& name) const;
  Result<ReadOnlyFile> OpenFile(const std::string& name) const;

  // Bytes of tensors that were asked of the files so far, gaps included; headers are not among
  // them.
  int64_t bytes_read() const { return *bytes_read_; }

  // An error if any file changed since it was opened.
  Status CheckUnchanged() const;
  // The files' identities, a line each.
  std::string Identity() const;

 private:
  Status OpenIndexed(const std::string& folder);
  Status AddFile(const std::string& folder, const std::string& name);
  Status SortTensors();

  std::string folder_;
  std::string config_json_;
  std::optional<std::string> generation_config_json_;
  QuantizationTexts quantization_;
  std::vector<SafetensorsFile> files_;
  std::vector<Tensor> tensors_;  // pointers into files_
  std::unique_ptr<std::atomic<int64_t>> bytes_read_ = std::make_unique<std::atomic<int64_t>>(0);
};

}  // namespace octet::worker
