// What all ranks of a host need of a checkpoint, read once for all of them: with act-order every
// rank needs the whole of some modules, a part of each input's word here and there. The bytes lie
// in a file in memory (a tmpfs), which the ranks fill together, each its part, and which goes with
// the last that has used it.
//
// Ranks need not know of each other: they take a place at a table, locked by the kernel for as long
// as they live, so that one which is late, has failed or is gone is waited for by nobody; its part
// is read by whoever misses it. Every rank reads the same modules in the same order. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"

namespace octet::worker {

inline constexpr int kHostRanksMax = 64;
// A rank that has a place, is not beyond a module and yet does not bring its part for so long is
// done without.
inline constexpr int kSharedReadSecondsMax = 120;

// Which of the ranks of this host.
struct HostPlace {
  int rank = 0;
  int ranks = 1;
};

class SharedReads {
 public:
  // Null where nothing can be shared: one rank, a folder that is not in memory, a place that
  // somebody else has. `key` is the same for ranks that read the same; `reserve_bytes` of the file
  // system stay free for others. `folder` is there.
  static std::unique_ptr<SharedReads> Join(const std::string& folder, const std::string& key,
                                           const HostPlace& place, int64_t reserve_bytes);
  ~SharedReads();
  SharedReads(const SharedReads&) = delete;
  SharedReads& operator=(const SharedReads&) = delete;

  // Writes one of the parts into `whole`, which has room for all.
  using ReadPart = std::function<Status(int part, int parts, std::byte* whole)>;
  // The next module, of `bytes` bytes, valid until Release; null: there is no room for it, nothing
  // was read. An error is one of `read`.
  Result<const std::byte*> Next(int64_t bytes, const ReadPart& read);
  void Release();

 private:
  struct Table;
  struct Header;

  SharedReads(std::string path, const HostPlace& place, int64_t reserve_bytes, int table_fd,
              Table* table);
  bool Open(int64_t bytes);
  bool TakeRoom(int64_t bytes) const;
  Status Fill(const ReadPart& read);
  bool WillCome(int rank) const;
  std::string FilePath() const;
  void Close();

  const std::string path_;  // of the table and, with an ending, of the files
  const HostPlace place_;
  const int64_t reserve_bytes_;
  int table_fd_ = -1;
  Table* table_ = nullptr;
  uint32_t module_ = 0;  // number of the next
  // The module that is being used.
  int fd_ = -1;
  std::byte* mapping_ = nullptr;
  int64_t mapped_bytes_ = 0;
};

}  // namespace octet::worker
