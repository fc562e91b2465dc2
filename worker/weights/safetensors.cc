#include "worker/weights/safetensors.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "base/json/json.h"
#include "worker/weights/safetensors_header.h"

namespace octet::worker {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian");

constexpr int64_t kLengthBytes = 8;

}  // namespace

std::string TensorInfo::shape_text() const {
  std::string text = "[";
  for (int64_t i = 0; i < rank; ++i) text += (i == 0 ? "" : ", ") + std::to_string(dims[i]);
  return text + "]";
}

Result<SafetensorsFile> SafetensorsFile::Open(const std::string& path, const std::string& name) {
  OCTET_ASSIGN_OR_RETURN(ReadOnlyFile opened, ReadOnlyFile::Open(path, name));
  SafetensorsFile file(std::move(opened));
  const int64_t bytes = file.file_.bytes();
  if (bytes < kLengthBytes) {
    return DataLoss(name + ": " + std::to_string(bytes) +
                    " bytes are too few for a safetensors file, which begins with 8 bytes of "
                    "header length");
  }
  uint64_t length = 0;
  OCTET_RETURN_IF_ERROR(file.file_.Read(0, kLengthBytes, reinterpret_cast<std::byte*>(&length)));
  if (length > uint64_t{kHeaderBytesMax}) {
    return DataLoss(name + ": header of " + std::to_string(length) + " bytes, the limit is " +
                    std::to_string(kHeaderBytesMax));
  }
  const auto header_bytes = static_cast<int64_t>(length);
  if (header_bytes > bytes - kLengthBytes) {
    return DataLoss(name + ": header of " + std::to_string(header_bytes) +
                    " bytes does not fit into the file of " + std::to_string(bytes) + " bytes");
  }
  std::string header(header_bytes, '\0');
  OCTET_RETURN_IF_ERROR(
      file.file_.Read(kLengthBytes, header_bytes, reinterpret_cast<std::byte*>(header.data())));
  file.data_begin_ = kLengthBytes + header_bytes;
  OCTET_ASSIGN_OR_RETURN(file.tensors_,
                         ParseSafetensorsHeader(header, bytes - file.data_begin_, name));
  return file;
}

const TensorInfo* SafetensorsFile::Find(std::string_view tensor) const {
  const auto found =
      std::lower_bound(tensors_.begin(), tensors_.end(), tensor,
                       [](const TensorInfo& info, std::string_view n) { return info.name < n; });
  return found == tensors_.end() || found->name != tensor ? nullptr : &*found;
}

Status SafetensorsFile::Read(const TensorInfo& tensor, int64_t offset, int64_t count,
                             std::byte* out) const {
  OCTET_CHECK_GE(offset, 0);
  OCTET_CHECK_GE(count, 0);
  OCTET_CHECK_LE(offset + count, tensor.end - tensor.begin);
  Status status = file_.Read(data_begin_ + tensor.begin + offset, count, out);
  if (status.ok()) return status;
  return {status.code(), status.message() + " (tensor " + Quoted(tensor.name) + ")"};
}

}  // namespace octet::worker
