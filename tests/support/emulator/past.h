// What an early launch may not rely on yet: what the launches ahead of it write. They count as one
// chain until something of the queue waits for all of them: a copy, a fill, a call of the host, an
// event, the beginning or end of a graph, a launch that is not early. A thread of an early launch
// knows what the chain wrote behind its hw::wait_for_past(), and may write only then.
#pragma once

#include <cstdint>
#include <vector>

namespace octet::emulator {

using LaunchId = uint32_t;  // of the process, from 1

class Chain {
 public:
  struct Launch {
    LaunchId id = 0;  // 0: none
    const char* file = nullptr;
    int line = 0;
  };

  void Settle() { launches_.clear(); }
  void Add(const Launch& launch) { launches_.push_back(launch); }
  // The launch of the chain that wrote [address, bytes) of device memory last, or none.
  Launch WriterOf(const void* address, int64_t bytes) const;

 private:
  std::vector<Launch> launches_;  // ids ascend
};

// Kept for words of 4 bytes: of two launches that wrote bytes of one the last is known.
void RecordWrite(const void* address, int64_t bytes, LaunchId launch);
// Device memory that is free again has no writers.
void ForgetWrites(const void* address, int64_t bytes);

}  // namespace octet::emulator
