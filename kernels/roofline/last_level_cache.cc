#include "kernels/roofline/last_level_cache.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

namespace octet::kernels {
namespace {

constexpr int64_t kCachesMin = 4;  // STREAM: "at least 4 times the size of the sum of all LLCs"
constexpr int64_t kReadBytesMin = int64_t{256} << 20;  // whatever the memory
constexpr int64_t kReadBytesLow = int64_t{1} << 30;
constexpr int64_t kReadBytesHigh = int64_t{2} << 30;
constexpr int64_t kMemoryShare = 8;

// The value that a file of sysfs begins with; 0 or empty where there is none.
template <typename Value>
Value FirstIn(const std::filesystem::path& file) {
  Value value{};
  std::ifstream(file) >> value;
  return value;
}

}  // namespace

int64_t LastLevelCacheBytes(const std::string& cpus_folder) {
  namespace fs = std::filesystem;
  std::set<std::string> counted;  // by who shares them
  int64_t total_bytes = 0;
  for (int cpu = 0;; ++cpu) {
    const fs::path folder = fs::path(cpus_folder) / ("cpu" + std::to_string(cpu));
    std::error_code ignored;
    if (!fs::exists(folder, ignored)) return total_bytes;
    int last_level = 0;
    fs::path last;
    for (int index = 0;; ++index) {
      const fs::path cache = folder / "cache" / ("index" + std::to_string(index));
      if (!fs::exists(cache, ignored)) break;
      const int level = FirstIn<int>(cache / "level");
      if (level > last_level) last = cache;
      last_level = std::max(last_level, level);
    }
    if (last_level == 0) continue;
    if (!counted.insert(FirstIn<std::string>(last / "shared_cpu_list")).second) continue;
    total_bytes += FirstIn<int64_t>(last / "size") << 10;  // such as 32768K
  }
}

int64_t ReadBufferBytes(int64_t cache_bytes, int64_t memory_bytes) {
  const int64_t bytes = std::clamp(kCachesMin * cache_bytes, kReadBytesLow, kReadBytesHigh);
  return std::max(kReadBytesMin, std::min(bytes, memory_bytes / kMemoryShare));
}

}  // namespace octet::kernels
