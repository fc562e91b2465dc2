// How large a buffer has to be to lie in memory and not in the caches.
#pragma once

#include <cstdint>
#include <string>

namespace octet::kernels {

// Bytes of all last-level caches that the system names in `cpus_folder` (sysfs: a folder cpuN for
// each processor), one that several processors share counted once. 0 where it names none.
int64_t LastLevelCacheBytes(const std::string& cpus_folder = "/sys/devices/system/cpu");

// Of the buffer that read bandwidth is measured on: STREAM's rule, four times the last-level
// caches, but 1 to 2 GiB, of these at most an eighth of the memory, and at least 256 MiB.
int64_t ReadBufferBytes(int64_t cache_bytes, int64_t memory_bytes);

}  // namespace octet::kernels
