#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace octet {
namespace {

constexpr int64_t kReadBytesMax = int64_t{1} << 30;  // Linux reads no more than 2 GiB at once

Status SystemError(const std::string& name, const char* call, int error) {
  std::string text = name + ": " + call + " failed: " + std::generic_category().message(error);
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return NotFound(std::move(text));
    case EACCES:
    case EPERM:
      return {StatusCode::kPermissionDenied, std::move(text)};
    case EIO:
      return DataLoss(std::move(text));
    default:
      return Unavailable(std::move(text));
  }
}

int64_t ModifiedNs(const struct stat& found) {
  return int64_t{found.st_mtim.tv_sec} * 1'000'000'000 + found.st_mtim.tv_nsec;
}

}  // namespace

Result<ReadOnlyFile> ReadOnlyFile::Open(const std::string& path, const std::string& name) {
  ReadOnlyFile file;
  file.path_ = path;
  file.name_ = name;
  // Without O_NONBLOCK a fifo would be waited for here, before fstat can tell what it is.
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
      path_(std::move(other.path_)),
      name_(std::move(other.name_)),
      bytes_(other.bytes_),
      modified_ns_(other.modified_ns_),
      device_(other.device_),
      inode_(other.inode_) {}

ReadOnlyFile& ReadOnlyFile::operator=(ReadOnlyFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
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
    if (got < 0) {
      Status status = SystemError(name_, "pread", errno);
      return {status.code(), status.message() + " at byte " + std::to_string(offset + done)};
    }
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
  if (found.st_size != bytes_ || ModifiedNs(found) != modified_ns_) {
    return DataLoss(name_ + ": was changed while it was read (" + std::to_string(bytes_) +
                    " bytes at first, " + std::to_string(found.st_size) + " now)");
  }
  struct stat there;
  if (stat(path_.c_str(), &there) == 0 && there.st_dev == device_ && there.st_ino == inode_) {
    return {};
  }
  return DataLoss(name_ + ": was replaced or removed while it was read");
}

std::string ReadOnlyFile::Identity() const {
  std::string text = name_;
  for (const int64_t value : {bytes_, modified_ns_}) text += " " + std::to_string(value);
  for (const uint64_t value : {device_, inode_}) text += " " + std::to_string(value);
  return text;
}

Result<std::string> ReadTextFile(const std::string& path, const std::string& name,
                                 int64_t bytes_max) {
  OCTET_ASSIGN_OR_RETURN(const ReadOnlyFile file, ReadOnlyFile::Open(path, name));
  if (file.bytes() > bytes_max) {
    return ResourceExhausted(name + ": " + std::to_string(file.bytes()) + " bytes, the limit is " +
                             std::to_string(bytes_max));
  }
  std::string text(static_cast<size_t>(file.bytes()), '\0');
  OCTET_RETURN_IF_ERROR(file.Read(0, file.bytes(), reinterpret_cast<std::byte*>(text.data())));
  return text;
}

}  // namespace octet
