// Files of packed weights in a folder: made under a temporary name and renamed when whole, opened,
// mapped. A temporary file is locked by the process that writes it; one whose lock is free was left
// by a process that is gone, and is removed by the next that writes there.
//
// Room is taken before a byte is written, so that a full folder is a status and never a signal.
// Knows nothing of what is in a file.
#pragma once

#include <string>
#include <string_view>

#include "base/buffer.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "worker/weights/packed/format.h"

namespace octet::worker {

// An open descriptor.
class PackedFile {
 public:
  // NotFound when there is none. Any other status says what is wrong with what is there.
  static Result<PackedFile> Open(const std::string& path);
  ~PackedFile();
  PackedFile(PackedFile&& other) noexcept;
  PackedFile& operator=(PackedFile&& other) noexcept;

  // In memory, so that mapping it takes no second copy and no page of it comes from a disk.
  bool in_memory() const;
  int64_t bytes() const;
  int64_t stored_bytes() const;  // without holes
  Status Read(int64_t offset, int64_t count, void* out) const;
  Status Write(int64_t offset, int64_t count, const void* from);
  // Data at a border of kPackedDataAlignment. REQUIRES: the file has these bytes.
  Result<Buffer> Map(const PackedLayout& layout, bool writable) const;

 private:
  friend class NewPackedFile;
  explicit PackedFile(int fd) : fd_(fd) {}
  int fd_ = -1;
};

// A file on its way. Removed with the object unless committed.
class NewPackedFile {
 public:
  // Makes `folder` if only it is missing, clears away what dead writers left there, and takes
  // layout.stored_bytes(); `reserve_bytes` stay free for others. In memory data lies in huge pages
  // where whole ones fit and the system grants them: tmpfs gives none by itself, and then each
  // start maps 512 times as many pages.
  static Result<NewPackedFile> Create(const std::string& folder, const PackedLayout& layout,
                                      int64_t reserve_bytes, ThreadPool& pool);
  ~NewPackedFile();
  NewPackedFile(NewPackedFile&& other) noexcept;
  NewPackedFile& operator=(NewPackedFile&&) = delete;

  PackedFile& file() { return file_; }
  // The file is whole: from now on it is `path`, in the place of what was there.
  Status Commit(const std::string& path);

 private:
  NewPackedFile(PackedFile file, std::string path)
      : file_(std::move(file)), path_(std::move(path)) {}
  Status TakeRoom(const std::string& folder, const PackedLayout& layout, int64_t reserve_bytes,
                  ThreadPool& pool);
  void TakeHugePages(const PackedLayout& layout, ThreadPool& pool);
  PackedFile file_;
  std::string path_;  // empty: committed or moved from
};

}  // namespace octet::worker
