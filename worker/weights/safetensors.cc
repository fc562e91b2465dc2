#include "worker/weights/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "worker/model/json.h"
#include "worker/weights/safetensors_header.h"

namespace octet::worker {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian");

constexpr int64_t kLengthBytes = 8;
constexpr int64_t kReadBytesMax = int64_t{1} << 30;  // Linux reads no more than 2 GiB at once

Status SystemError(const std::string& name, const char* call, int error) {
  const std::string text =
      name + ": " + call + " failed: " + std::generic_category().message(error);
  return error == ENOENT ? NotFound(text) : Unavailable(text);
}

int64_t ModifiedNs(const struct stat& found) {
  return int64_t{found.st_mtim.tv_sec} * 1'000'000'000 + found.st_mtim.tv_nsec;
}

}  // namespace

Result<ReadOnlyFile> ReadOnlyFile::Open(const std::string& path, const std::string& name) {
  ReadOnlyFile file;
  file.name_ = name;
  // Without O_NONBLOCK a fifo in the model's folder would hold the start for ever.
  file.fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.fd_ < 0) return SystemError(name, "open", errno);
  struct stat found;
  if (fstat(file.fd_, &found) != 0) return SystemError(name, "fstat", errno);
  if (!S_ISREG(found.st_mode)) return InvalidArgument(name + ": is not a regular file");
  file.bytes_ = found.st_size;
  file.modified_ns_ = ModifiedNs(found);
  file.device_ = found.st_dev;
  file.inode_ = found.st_ino;
  return file;
}

ReadOnlyFile::~ReadOnlyFile() {
  if (fd_ >= 0) close(fd_);
}

ReadOnlyFile::ReadOnlyFile(ReadOnlyFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      name_(std::move(other.name_)),
      bytes_(other.bytes_),
      modified_ns_(other.modified_ns_),
      device_(other.device_),
      inode_(other.inode_) {}

ReadOnlyFile& ReadOnlyFile::operator=(ReadOnlyFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(name_, other.name_);
  std::swap(bytes_, other.bytes_);
  std::swap(modified_ns_, other.modified_ns_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  return *this;
}

Status ReadOnlyFile::Read(int64_t offset, int64_t count, std::byte* out) const {
  int64_t done = 0;
  while (done < count) {
    const auto want = static_cast<size_t>(std::min(count - done, kReadBytesMax));
    const ssize_t got = pread(fd_, out + done, want, offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError(name_, "pread", errno);
    if (got == 0) {
      return DataLoss(name_ + ": ends at byte " + std::to_string(offset + done) +
                      " while it is read; it had " + std::to_string(bytes_) +
                      " bytes when it was opened");
    }
    done += got;
  }
  return {};
}

Status ReadOnlyFile::CheckUnchanged() const {
  struct stat found;
  if (fstat(fd_, &found) != 0) return SystemError(name_, "fstat", errno);
  if (found.st_size == bytes_ && ModifiedNs(found) == modified_ns_) return {};
  return DataLoss(name_ + ": was changed while it was read (" + std::to_string(bytes_) +
                  " bytes at first, " + std::to_string(found.st_size) + " now)");
}

std::string ReadOnlyFile::Identity() const {
  std::string text = name_;
  for (const int64_t value : {bytes_, modified_ns_}) text += " " + std::to_string(value);
  for (const uint64_t value : {device_, inode_}) text += " " + std::to_string(value);
  return text;
}

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
