// A file that is only read, by whoever has no reason to trust it: a model's weights, its config,
// its tokenizer. pread only, never mmap: a file that is cut short while it is read is an error, not
// a signal. Whatever is not a regular file is refused, so that no fifo holds a start for ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace octet {

// Owns the descriptor. Calls from several threads at a time are allowed.
class ReadOnlyFile {
 public:
  // `name` stands for the file in messages. NotFound, PermissionDenied, or DataLoss where the disk
  // says so; InvalidArgument for what is not a regular file.
  static Result<ReadOnlyFile> Open(const std::string& path, const std::string& name);
  ~ReadOnlyFile();
  ReadOnlyFile(ReadOnlyFile&& other) noexcept;
  ReadOnlyFile& operator=(ReadOnlyFile&& other) noexcept;

  const std::string& name() const { return name_; }  // in messages
  int64_t bytes() const { return bytes_; }           // when it was opened
  // All of `count` bytes at `offset`, or why not.
  Status Read(int64_t offset, int64_t count, std::byte* out) const;
  // An error if size or time of modification changed since the file was opened, or if its path now
  // leads to another file: ranks that open it at different times would then hold different models.
  Status CheckUnchanged() const;
  // What tells this file from every other and from what it becomes when it is changed: name, size,
  // time of modification, device and inode when it was opened.
  std::string Identity() const;

 private:
  ReadOnlyFile() = default;
  int fd_ = -1;
  std::string path_;
  std::string name_;
  int64_t bytes_ = 0;
  int64_t modified_ns_ = 0;
  uint64_t device_ = 0;
  uint64_t inode_ = 0;
};

// The whole of a text file. ResourceExhausted beyond `bytes_max`, before anything is allocated.
Result<std::string> ReadTextFile(const std::string& path, const std::string& name,
                                 int64_t bytes_max);

}  // namespace octet
