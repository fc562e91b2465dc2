#include "worker/weights/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <system_error>

#include "base/check.h"
#include "base/json/json.h"

namespace octet::worker {
namespace {

namespace fs = std::filesystem;

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr int64_t kConfigBytesMax = int64_t{16} << 20;
constexpr int64_t kIndexBytesMax = int64_t{64} << 20;
constexpr int64_t kGapShare = 20;  // gaps of 1 / 20 of a row are read through rather than skipped
constexpr int64_t kStagingBytes = int64_t{64} << 10;  // on the stack

bool Exists(const std::string& folder, const std::string& name) {
  std::error_code ignored;  // a link without a target is there too
  return fs::exists(fs::symlink_status(fs::path(folder) / name, ignored));
}

bool IsInside(const fs::path& path, const fs::path& root) {
  const auto [root_end, rest] = std::mismatch(root.begin(), root.end(), path.begin(), path.end());
  return root_end == root.end() && rest != path.end();
}

// The real path of folder/name if it lies in the folder itself or, for a snapshot of the Hugging
// Face cache, in the blobs beside the snapshots.
Result<std::string> Locate(const std::string& folder, const std::string& name) {
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  if (error) return NotFound("model folder " + Quoted(folder) + ": " + error.message());
  const fs::path real = fs::canonical(root / name, error);
  if (error && Exists(folder, name)) {
    return NotFound(name + ": is a link in model folder " + Quoted(folder) +
                    " whose target is not there");
  }
  if (error) return NotFound(name + ": not found in model folder " + Quoted(folder));
  const bool snapshot = root.parent_path().filename() == "snapshots";
  const fs::path blobs = root.parent_path().parent_path() / "blobs";
  if (IsInside(real, root) || (snapshot && IsInside(real, blobs))) return real.string();
  return InvalidArgument(name + ": is a link that leads out of model folder " + Quoted(folder));
}

Result<std::string> ReadText(const std::string& folder, const std::string& name,
                             int64_t bytes_max) {
  OCTET_ASSIGN_OR_RETURN(const std::string path, Locate(folder, name));
  return ReadTextFile(path, name, bytes_max);
}

// A name that can not lead anywhere but to a file of the folder.
bool IsPlainName(const std::string& name) {
  const std::string suffix = ".safetensors";
  const bool suffixed = name.size() > suffix.size() && name.size() <= 255 &&
                        name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
  return suffixed && name.front() != '.' && name.find('/') == std::string::npos &&
         name.find('\\') == std::string::npos && name.find('\0') == std::string::npos;
}

// weight_map of the index: tensor -> file.
Result<std::map<std::string, std::string>> ReadIndex(const std::string& folder) {
  OCTET_ASSIGN_OR_RETURN(const std::string text, ReadText(folder, kIndexFile, kIndexBytesMax));
  OCTET_ASSIGN_OR_RETURN(const nlohmann::json index,
                         ParseJson(text, kIndexFile, {.bytes_max = kIndexBytesMax}));
  const std::string what = kIndexFile;
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return InvalidArgument(what + ": key \"weight_map\" is missing or not an object");
  }
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string()) {
      return InvalidArgument(what + ": the file of tensor " + Quoted(tensor) + " is not a text");
    }
    const auto& name = file.get_ref<const std::string&>();
    if (!IsPlainName(name)) {
      return InvalidArgument(what + ": tensor " + Quoted(tensor) + " is said to be in " +
                             Quoted(name) + ", expected the plain name of a .safetensors file");
    }
    files.emplace(tensor, name);
  }
  return files;
}

struct MatrixExtent {
  int64_t rows = 1;
  int64_t cols = 0;
};

MatrixExtent ExtentOf(const TensorInfo& info) {
  OCTET_CHECK(info.rank == 1 || info.rank == 2);
  if (info.rank == 1) return {1, info.dims[0]};
  return {info.dims[0], info.dims[1]};
}

}  // namespace

Status Checkpoint::AddFile(const std::string& folder, const std::string& name) {
  OCTET_ASSIGN_OR_RETURN(const std::string path, Locate(folder, name));
  OCTET_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(path, name));
  files_.push_back(std::move(file));
  for (const TensorInfo& info : files_.back().tensors()) {
    tensors_.push_back({&info, static_cast<int32_t>(files_.size() - 1)});
  }
  return {};
}

// By name, and no name twice.
Status Checkpoint::SortTensors() {
  std::sort(tensors_.begin(), tensors_.end(),
            [](const Tensor& a, const Tensor& b) { return a.info->name < b.info->name; });
  const auto twice = std::adjacent_find(
      tensors_.begin(), tensors_.end(),
      [](const Tensor& a, const Tensor& b) { return a.info->name == b.info->name; });
  if (twice == tensors_.end()) return {};
  return DataLoss("tensor " + Quoted(twice->info->name) + " is in two files, " + FileOf(*twice) +
                  " and " + FileOf(*(twice + 1)));
}

Status Checkpoint::OpenIndexed(const std::string& folder) {
  OCTET_ASSIGN_OR_RETURN(const auto file_of_tensor, ReadIndex(folder));
  std::vector<std::string> names;
  names.reserve(file_of_tensor.size());
  for (const auto& [tensor, file] : file_of_tensor) names.push_back(file);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  if (names.empty()) return DataLoss(std::string(kIndexFile) + ": names no file");
  if (static_cast<int64_t>(names.size()) > kCheckpointFilesMax) {
    return InvalidArgument(std::string(kIndexFile) + ": names " + std::to_string(names.size()) +
                           " files, the limit is " + std::to_string(kCheckpointFilesMax));
  }
  for (const std::string& name : names) {
    const Status status = AddFile(folder, name);
    if (status.ok()) continue;
    return {status.code(), status.message() + " (named in " + kIndexFile + ")"};
  }
  OCTET_RETURN_IF_ERROR(SortTensors());
  for (const auto& [tensor, file] : file_of_tensor) {
    const Tensor* found = Find(tensor);
    if (found != nullptr && FileOf(*found) == file) continue;
    return DataLoss(std::string(kIndexFile) + ": says that tensor " + Quoted(tensor) + " is in " +
                    file + ", which does not have it");
  }
  for (const Tensor& tensor : tensors_) {
    if (file_of_tensor.count(tensor.info->name) != 0) continue;
    return DataLoss(FileOf(tensor) + ": tensor " + Quoted(tensor.info->name) + " is not named in " +
                    kIndexFile);
  }
  return {};
}

Result<Checkpoint> Checkpoint::Open(const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return NotFound("model folder " + Quoted(folder) + " is not there or not a folder");
  }
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  OCTET_ASSIGN_OR_RETURN(checkpoint.config_json_, ReadText(folder, "config.json", kConfigBytesMax));
  if (Exists(folder, "generation_config.json")) {
    OCTET_ASSIGN_OR_RETURN(checkpoint.generation_config_json_,
                           ReadText(folder, "generation_config.json", kConfigBytesMax));
  }
  checkpoint.quantization_.config = checkpoint.config_json_;
  for (const auto& [name, text] :
       {std::pair{"quantize_config.json", &checkpoint.quantization_.quantize_config},
        std::pair{"quant_config.json", &checkpoint.quantization_.quant_config}}) {
    if (!Exists(folder, name)) continue;
    OCTET_ASSIGN_OR_RETURN(*text, ReadText(folder, name, kConfigBytesMax));
  }
  if (Exists(folder, kSingleFile)) {
    OCTET_RETURN_IF_ERROR(checkpoint.AddFile(folder, kSingleFile));
    OCTET_RETURN_IF_ERROR(checkpoint.SortTensors());
    return checkpoint;
  }
  if (!Exists(folder, kIndexFile)) {
    return NotFound("model folder " + Quoted(folder) + " has neither " + kSingleFile + " nor " +
                    kIndexFile + " (other kinds of weight files are not read)");
  }
  OCTET_RETURN_IF_ERROR(checkpoint.OpenIndexed(folder));
  return checkpoint;
}

const Checkpoint::Tensor* Checkpoint::Find(std::string_view name) const {
  const auto found = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const Tensor& tensor, std::string_view n) { return tensor.info->name < n; });
  return found == tensors_.end() || found->info->name != name ? nullptr : &*found;
}

Status Checkpoint::ReadRows(const Tensor& tensor, const MatrixSlice& slice, std::byte* out) const {
  const MatrixExtent extent = ExtentOf(*tensor.info);
  OCTET_CHECK(tensor.info->dtype().has_value());
  OCTET_CHECK(0 <= slice.row_begin && slice.row_begin <= slice.row_end);
  OCTET_CHECK(0 <= slice.col_begin && slice.col_begin <= slice.col_end);
  OCTET_CHECK_LE(slice.row_end, extent.rows);
  OCTET_CHECK_LE(slice.col_end, extent.cols);
  const int64_t element_bytes = DTypeBytes(*tensor.info->dtype());
  const int64_t stride = extent.cols * element_bytes;
  const int64_t width = slice.cols() * element_bytes;
  const SafetensorsFile& file = files_[tensor.file];
  int64_t offset = slice.row_begin * stride + slice.col_begin * element_bytes;
  if (slice.rows() == 0 || width == 0) return {};
  const auto read = [&](int64_t from, int64_t count, std::byte* to) {
    bytes_read_->fetch_add(count);
    return file.Read(*tensor.info, from, count, to);
  };
  if (width == stride) return read(offset, slice.rows() * stride, out);

  // Rows in runs that fit the staging, gaps included, where the gaps are short; else one by one.
  std::byte staging[kStagingBytes];
  const bool through = (stride - width) * kGapShare <= width && stride <= kStagingBytes;
  const int64_t run = through ? kStagingBytes / stride : 1;
  for (int64_t row = 0; row < slice.rows(); row += run) {
    const int64_t rows = std::min(run, slice.rows() - row);
    std::byte* const into = rows == 1 ? out : staging;
    OCTET_RETURN_IF_ERROR(read(offset, (rows - 1) * stride + width, into));
    for (int64_t i = 0; rows > 1 && i < rows; ++i) {
      std::memcpy(out + i * width, staging + i * stride, width);
    }
    out += rows * width;
    offset += rows * stride;
  }
  return {};
}

Status Checkpoint::ReadWhole(const Tensor& tensor, std::byte* out) const {
  const TensorInfo& info = *tensor.info;
  return files_[tensor.file].Read(info, 0, info.end - info.begin, out);
}

bool Checkpoint::HasFile(const std::string& name) const { return Exists(folder_, name); }

Result<ReadOnlyFile> Checkpoint::OpenFile(const std::string& name) const {
  OCTET_ASSIGN_OR_RETURN(const std::string path, Locate(folder_, name));
  return ReadOnlyFile::Open(path, name);
}

Status Checkpoint::CheckUnchanged() const {
  for (const SafetensorsFile& file : files_) OCTET_RETURN_IF_ERROR(file.CheckUnchanged());
  return {};
}

std::string Checkpoint::Identity() const {
  std::string text;
  for (const SafetensorsFile& file : files_) text += file.Identity() + "\n";
  return text;
}

}  // namespace octet::worker
