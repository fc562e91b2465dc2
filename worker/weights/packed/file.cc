#include "worker/weights/packed/file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace octet::worker {
namespace {

namespace fs = std::filesystem;

constexpr char kTemporaryPrefix[] = "packing-";
constexpr int64_t kTransferBytesMax = int64_t{1} << 30;  // Linux moves no more than 2 GiB at once

Status SystemError(const std::string& what, int error) {
  const std::string text = what + ": " + std::generic_category().message(error);
  if (error == ENOENT || error == ENOTDIR) return NotFound(text);
  return error == ENOSPC || error == EFBIG ? ResourceExhausted(text) : Unavailable(text);
}

struct stat StatOf(int fd) {
  struct stat found {};
  OCTET_CHECK_EQ(fstat(fd, &found), 0);
  return found;
}

bool IsLinked(int fd) { return StatOf(fd).st_nlink > 0; }

// What writers that are gone have left. A living one holds its file's lock.
void RemoveAbandoned(const std::string& folder) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().rfind(kTemporaryPrefix, 0) != 0) continue;
    const int fd = open(it->path().c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) continue;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) unlink(it->path().c_str());
    close(fd);
  }
}

// A new file with its lock held. One that was taken for abandoned between its making and its
// locking is made again.
Result<int> MakeLocked(const std::string& folder, std::string* path) {
  constexpr int kAttempts = 16;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    *path = folder + "/" + kTemporaryPrefix + "XXXXXX";
    const int fd = mkostemp(path->data(), O_CLOEXEC);
    if (fd < 0) return SystemError("no file can be made in " + folder, errno);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && IsLinked(fd)) return fd;
    close(fd);
  }
  return Unavailable("no file can be locked in " + folder);
}

int64_t FreeBytes(int fd) {
  struct statfs found {};
  if (fstatfs(fd, &found) != 0) return 0;
  return static_cast<int64_t>(found.f_bavail) * static_cast<int64_t>(found.f_bsize);
}

// A file beyond this would end the process with a signal.
bool ExceedsFileLimit(int64_t bytes) {
  rlimit limit{};
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
         static_cast<rlim_t>(bytes) > limit.rlim_cur;
}

// fallocate where the file system can; where it can not, a write may still fail with a status.
Status Allocate(int fd, int64_t offset, int64_t bytes) {
  int result;
  do {
    result = fallocate(fd, 0, offset, bytes);
  } while (result != 0 && errno == EINTR);
  if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS) return {};
  return SystemError("fallocate", errno);
}

}  // namespace

Result<PackedFile> PackedFile::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (fd < 0) return SystemError("can not be opened", errno);
  PackedFile file(fd);
  if (!S_ISREG(StatOf(fd).st_mode)) return InvalidArgument("is not a regular file");
  return file;
}

PackedFile::~PackedFile() {
  if (fd_ >= 0) close(fd_);
}

PackedFile::PackedFile(PackedFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

PackedFile& PackedFile::operator=(PackedFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

bool PackedFile::in_memory() const {
  struct statfs found {};
  return fstatfs(fd_, &found) == 0 && found.f_type == TMPFS_MAGIC;
}

int64_t PackedFile::bytes() const { return StatOf(fd_).st_size; }

int64_t PackedFile::stored_bytes() const {
  constexpr int64_t kStatBlockBytes = 512;
  return StatOf(fd_).st_blocks * kStatBlockBytes;
}

Status PackedFile::Read(int64_t offset, int64_t count, void* out) const {
  for (int64_t done = 0; done < count;) {
    const auto want = static_cast<size_t>(std::min(count - done, kTransferBytesMax));
    const ssize_t got = pread(fd_, static_cast<std::byte*>(out) + done, want, offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError("can not be read", errno);
    if (got == 0) return DataLoss("ends at byte " + std::to_string(offset + done));
    done += got;
  }
  return {};
}

Status PackedFile::Write(int64_t offset, int64_t count, const void* from) {
  for (int64_t done = 0; done < count;) {
    const auto want = static_cast<size_t>(std::min(count - done, kTransferBytesMax));
    const ssize_t put =
        pwrite(fd_, static_cast<const std::byte*>(from) + done, want, offset + done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return SystemError("can not be written", errno);
    done += put;
  }
  return {};
}

// A reservation of address space that is large enough to hold a border, and the file over its part.
Result<Buffer> PackedFile::Map(const PackedLayout& layout, bool writable) const {
  const auto bytes = static_cast<size_t>(layout.data_bytes);
  const size_t reserved = bytes + kPackedDataAlignment;
  void* const space =
      mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED) return SystemError("no address space for it", errno);
  auto* const begin = static_cast<std::byte*>(space);
  const auto address = static_cast<int64_t>(reinterpret_cast<uintptr_t>(begin));
  const size_t before = AlignUp(address, kPackedDataAlignment) - address;
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* const mapped =
      mmap(begin + before, bytes, protection, MAP_SHARED | MAP_FIXED, fd_, layout.data_begin);
  if (mapped == MAP_FAILED) {
    const int error = errno;
    munmap(space, reserved);
    return SystemError("can not be mapped", error);
  }
  if (before > 0) munmap(space, before);
  const int64_t page = sysconf(_SC_PAGESIZE);
  const size_t end = before + AlignUp(layout.data_bytes, page);
  if (end < reserved) munmap(begin + end, reserved - end);
  return Buffer::OfMapping(static_cast<std::byte*>(mapped), layout.data_bytes);
}

// A huge page is made around one small one, the rest of it zeroed. Made of 512 small ones it would
// be filled, copied and, where memory is fresh to a virtual machine, asked for twice. What fails
// leaves small pages, or a hole that Allocate fills or has no room for.
void NewPackedFile::TakeHugePages(const PackedLayout& layout, ThreadPool& pool) {
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, since Linux 6.1
  constexpr int64_t kPagesAtOnce = 8;
  const Result<Buffer> mapped = file_.Map(layout, /*writable=*/true);
  if (!mapped.ok()) return;
  const auto take = [&](int64_t page) {
    const int64_t begin = page * kPackedDataAlignment;
    const std::byte zero{};
    if (pwrite(file_.fd_, &zero, 1, layout.data_begin + begin) != 1) return;
    madvise(mapped->data() + begin, kPackedDataAlignment, kCollapse);
  };
  pool.ParallelFor(layout.data_bytes / kPackedDataAlignment, kPagesAtOnce,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t page = begin; page < end; ++page) take(page);
                   });
}

Result<NewPackedFile> NewPackedFile::Create(const std::string& folder, const PackedLayout& layout,
                                            int64_t reserve_bytes, ThreadPool& pool) {
  // Not the folders above: where the service's own folder is missing this is another machine, and
  // nobody would ever clear it away.
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return SystemError("folder " + folder + " can not be made", errno);
  }
  RemoveAbandoned(folder);
  std::string path;
  OCTET_ASSIGN_OR_RETURN(const int fd, MakeLocked(folder, &path));
  NewPackedFile made(PackedFile(fd), std::move(path));
  OCTET_RETURN_IF_ERROR(made.TakeRoom(folder, layout, reserve_bytes, pool));
  return made;
}

// Free bytes are looked at before, for a disk that is filled slows down everyone, and after, for
// other ranks take theirs at the same time.
Status NewPackedFile::TakeRoom(const std::string& folder, const PackedLayout& layout,
                               int64_t reserve_bytes, ThreadPool& pool) {
  const int fd = file_.fd_;
  const int64_t free_bytes = FreeBytes(fd);
  const auto no_room = [&](const std::string& why) {
    return ResourceExhausted("folder " + folder +
                             " has no room: " + std::to_string(layout.stored_bytes()) +
                             " bytes are needed besides " + std::to_string(reserve_bytes) +
                             " that stay free, " + std::to_string(free_bytes) + " are free" + why);
  };
  if (ExceedsFileLimit(layout.file_bytes())) return no_room(", but files are limited (ulimit -f)");
  if (free_bytes < layout.stored_bytes() + reserve_bytes) return no_room("");
  if (ftruncate(fd, layout.file_bytes()) != 0) return no_room("");
  if (file_.in_memory()) TakeHugePages(layout, pool);
  for (const auto& [offset, bytes] : {std::pair{int64_t{0}, layout.header_bytes},
                                      std::pair{layout.data_begin, layout.data_bytes}}) {
    const Status status = Allocate(fd, offset, bytes);
    if (!status.ok()) return no_room(" (" + status.message() + ")");
  }
  if (FreeBytes(fd) < reserve_bytes) return no_room(" to all ranks together");
  return {};
}

NewPackedFile::~NewPackedFile() {
  if (!path_.empty()) unlink(path_.c_str());
}

NewPackedFile::NewPackedFile(NewPackedFile&& other) noexcept
    : file_(std::move(other.file_)), path_(std::exchange(other.path_, {})) {}

Status NewPackedFile::Commit(const std::string& path) {
  if (fchmod(file_.fd_, S_IRUSR) != 0 || rename(path_.c_str(), path.c_str()) != 0) {
    return SystemError("can not be renamed to " + path, errno);
  }
  path_.clear();
  return {};
}

}  // namespace octet::worker
