#include "worker/weights/shared_reads.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"

namespace octet::worker {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "reads-";
constexpr char kTableEnding[] = ".table";
constexpr int64_t kHeaderBytes = 4096;
constexpr int64_t kFileLock = kHostRanksMax;  // behind the bytes that stand for ranks
constexpr auto kNap = std::chrono::microseconds(500);

// Locks of an open file: between processes and within one, gone with whoever holds them.
bool Lock(int fd, int64_t begin, int64_t bytes, int command, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = begin;
  lock.l_len = bytes;
  int result;
  do {
    result = fcntl(fd, command, &lock);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}
bool TryLock(int fd, int64_t begin, int64_t bytes = 1) {
  return Lock(fd, begin, bytes, F_OFD_SETLK, F_WRLCK);
}
bool WaitLock(int fd, int64_t byte) { return Lock(fd, byte, 1, F_OFD_SETLKW, F_WRLCK); }
void Unlock(int fd, int64_t byte) { Lock(fd, byte, 1, F_OFD_SETLK, F_UNLCK); }

// By another open file.
bool IsLocked(int fd, int64_t byte) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

struct stat StatOf(int fd) {
  struct stat found {};
  OCTET_CHECK_EQ(fstat(fd, &found), 0);
  return found;
}

int OpenFile(const std::string& path) {
  return open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

std::byte* MapFile(int fd, int64_t bytes) {
  void* const mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return mapped == MAP_FAILED ? nullptr : static_cast<std::byte*>(mapped);
}

// Whoever has all places is alone, and nobody can take one until the table is gone. Removes the
// table and its files then.
void RemoveIfAlone(const fs::path& table, int table_fd) {
  if (!TryLock(table_fd, 0, kHostRanksMax)) return;
  std::error_code error;
  for (fs::directory_iterator it(table.parent_path(), error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().stem() == table.stem()) unlink(it->path().c_str());
  }
}

// What a group that was killed has left.
void RemoveAbandoned(const std::string& folder) {
  std::error_code error;
  std::vector<fs::path> tables;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const fs::path& path = it->path();
    if (path.filename().string().starts_with(kPrefix) && path.extension() == kTableEnding)
      tables.push_back(path);
  }
  for (const fs::path& table : tables) {
    const int fd = open(table.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) continue;
    RemoveIfAlone(table, fd);
    close(fd);
  }
}

}  // namespace

// Of each place: the module that its rank reads, or will read next.
struct SharedReads::Table {
  std::atomic<uint32_t> module[kHostRanksMax];
};
// At the beginning of a module's file, for each place: whether its part is there, and whether its
// rank needs the file no more.
struct SharedReads::Header {
  std::atomic<uint32_t> filled[kHostRanksMax];
  std::atomic<uint32_t> used[kHostRanksMax];
};

std::unique_ptr<SharedReads> SharedReads::Join(const std::string& folder, const std::string& key,
                                               const HostPlace& place, int64_t reserve_bytes) {
  static_assert(sizeof(Table) <= kHeaderBytes && sizeof(Header) <= kHeaderBytes);
  static_assert(std::atomic<uint32_t>::is_always_lock_free);
  if (place.ranks < 2 || place.ranks > kHostRanksMax || place.rank >= place.ranks) return nullptr;
  struct statfs found {};
  if (statfs(folder.c_str(), &found) != 0 || found.f_type != TMPFS_MAGIC) return nullptr;
  RemoveAbandoned(folder);
  const std::string path = folder + "/" + kPrefix + key;
  constexpr int kAttempts = 16;  // a table may be on its way out
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int fd = OpenFile(path + kTableEnding);
    if (fd < 0) return nullptr;
    const bool sits = TryLock(fd, place.rank);
    const bool is_linked = StatOf(fd).st_nlink > 0;
    if (sits && is_linked && posix_fallocate(fd, 0, kHeaderBytes) == 0) {
      if (std::byte* const table = MapFile(fd, kHeaderBytes)) {
        return std::unique_ptr<SharedReads>(
            new SharedReads(path, place, reserve_bytes, fd, reinterpret_cast<Table*>(table)));
      }
    }
    close(fd);
    std::this_thread::sleep_for(kNap);
  }
  return nullptr;
}

SharedReads::SharedReads(std::string path, const HostPlace& place, int64_t reserve_bytes,
                         int table_fd, Table* table)
    : path_(std::move(path)),
      place_(place),
      reserve_bytes_(reserve_bytes),
      table_fd_(table_fd),
      table_(table) {
  table_->module[place_.rank] = 0;
}

SharedReads::~SharedReads() {
  Close();
  munmap(table_, kHeaderBytes);
  // Its own place first: of two that leave at once, the second finds all of them free.
  Unlock(table_fd_, place_.rank);
  RemoveIfAlone(path_ + kTableEnding, table_fd_);
  close(table_fd_);
}

std::string SharedReads::FilePath() const { return path_ + "." + std::to_string(module_); }

bool SharedReads::TakeRoom(int64_t bytes) const {
  struct statfs found {};
  if (fstatfs(fd_, &found) != 0) return false;
  const auto free_bytes =
      static_cast<int64_t>(found.f_bavail) * static_cast<int64_t>(found.f_bsize);
  return free_bytes >= bytes + reserve_bytes_ && posix_fallocate(fd_, 0, bytes) == 0;
}

// Maps the file of the module, which it makes where it is the first.
bool SharedReads::Open(int64_t bytes) {
  constexpr int kAttempts = 16;  // one that was used by all may be on its way out
  for (int attempt = 0; attempt < kAttempts && mapping_ == nullptr; ++attempt) {
    fd_ = OpenFile(FilePath());
    if (fd_ < 0) return false;
    WaitLock(fd_, kFileLock);
    const struct stat found = StatOf(fd_);
    const bool is_linked = found.st_nlink > 0;
    const bool has_room =
        is_linked && (found.st_size == bytes || (found.st_size == 0 && TakeRoom(bytes)));
    if (has_room) mapping_ = MapFile(fd_, bytes);
    if (is_linked && mapping_ == nullptr) unlink(FilePath().c_str());
    Unlock(fd_, kFileLock);
    if (mapping_ != nullptr) break;
    close(std::exchange(fd_, -1));
    if (is_linked) return false;
  }
  mapped_bytes_ = bytes;
  return mapping_ != nullptr;
}

Result<const std::byte*> SharedReads::Next(int64_t bytes, const ReadPart& read) {
  OCTET_CHECK(mapping_ == nullptr);
  table_->module[place_.rank] = module_;
  if (!Open(kHeaderBytes + bytes)) {
    table_->module[place_.rank] = ++module_;
    return nullptr;
  }
  OCTET_RETURN_IF_ERROR(Fill(read));
  return mapping_ + kHeaderBytes;
}

// Whether the rank has a place and is not beyond this module.
bool SharedReads::WillCome(int rank) const {
  return rank != place_.rank && IsLocked(table_fd_, rank) && table_->module[rank] <= module_;
}

// Its own part, then what is missing of the others.
Status SharedReads::Fill(const ReadPart& read) {
  auto* const header = reinterpret_cast<Header*>(mapping_);
  const auto start = std::chrono::steady_clock::now();
  const auto limit = std::chrono::seconds(kSharedReadSecondsMax);
  for (int i = 0; i < place_.ranks; ++i) {
    const int part = (place_.rank + i) % place_.ranks;
    while (header->filled[part] == 0) {
      const bool waits = WillCome(part) && std::chrono::steady_clock::now() - start < limit;
      if (waits || !TryLock(fd_, part)) {
        std::this_thread::sleep_for(kNap);
        continue;
      }
      Status status;
      if (header->filled[part] == 0) status = read(part, place_.ranks, mapping_ + kHeaderBytes);
      if (status.ok()) header->filled[part] = 1;
      Unlock(fd_, part);
      OCTET_RETURN_IF_ERROR(status);
    }
  }
  return {};
}

void SharedReads::Release() {
  OCTET_CHECK(mapping_ != nullptr);
  Close();
}

void SharedReads::Close() {
  if (mapping_ == nullptr) return;
  auto* const header = reinterpret_cast<Header*>(mapping_);
  header->used[place_.rank] = 1;
  bool is_last = true;
  for (int rank = 0; rank < place_.ranks; ++rank)
    is_last = is_last && (header->used[rank] != 0 || !WillCome(rank));
  if (is_last) unlink(FilePath().c_str());
  munmap(std::exchange(mapping_, nullptr), mapped_bytes_);
  close(std::exchange(fd_, -1));
  table_->module[place_.rank] = ++module_;
}

}  // namespace octet::worker
