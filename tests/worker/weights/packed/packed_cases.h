// Folders of both kinds, and one rank's weights by way of them.
#pragma once

#include <sys/statfs.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/worker/weights/made_checkpoint.h"
#include "worker/weights/packed/packed_weights.h"

namespace octet::worker {

// Where a folder lies; in memory only where the machine has /dev/shm.
enum class Place { kDisk, kMemory };

class PackedPlace {
 public:
  explicit PackedPlace(Place place) : in_memory_(place == Place::kMemory) {
    std::string path = (in_memory_ ? "/dev/shm" : std::filesystem::temp_directory_path().string()) +
                       "/octet_packed_XXXXXX";
    OCTET_CHECK(mkdtemp(path.data()) != nullptr);
    path_ = path;
    struct statfs found {};
    constexpr long kTmpfs = 0x01021994;
    in_memory_ = statfs(path.c_str(), &found) == 0 && found.f_type == kTmpfs;
  }
  ~PackedPlace() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  PackedPlace(const PackedPlace&) = delete;
  PackedPlace& operator=(const PackedPlace&) = delete;

  // A folder that the first rank makes.
  std::string folder() const { return path_ + "/weights"; }
  const std::string& path() const { return path_; }
  WeightSource found() const {
    return in_memory_ ? WeightSource::kMappedFile : WeightSource::kReadFile;
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder(), ignored)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }
  std::string OnlyFile() const {
    const std::vector<std::string> files = Files();
    OCTET_CHECK_EQ(files.size(), size_t{1});
    return folder() + "/" + files[0];
  }

 private:
  std::string path_;
  bool in_memory_;
};

inline WeightOptions PackedOptions(kernels::WeightFormat layers, DType embedding) {
  const bool quantized = kernels::IsQuantized(layers);
  return {.layers = layers,
          .head = quantized ? kernels::WeightFormat::kInt8 : layers,
          .embedding = embedding,
          .group = 32};
}

struct RankOf {
  int64_t ranks = 1;
  int64_t rank = 0;
};

inline Result<LoadedWeights> LoadPacked(const MadeCheckpoint& made, const PackedFolder& folder,
                                        RankOf which = {},
                                        kernels::WeightFormat format = kernels::WeightFormat::kInt4,
                                        int threads = 2,
                                        const std::function<void(double)>& progress = nullptr) {
  OCTET_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(made.folder.path()));
  OCTET_ASSIGN_OR_RETURN(const ShardPlan shard,
                         ShardPlan::Make(made.spec, which.ranks, which.rank));
  ThreadPool pool(threads);
  const WeightOptions options = PackedOptions(format, made.dtype);
  return LoadPackedWeights(folder, {checkpoint, made.spec, shard, options}, pool, progress);
}

inline std::string BytesOf(const DecoderWeights& weights) {
  return {reinterpret_cast<const char*>(weights.arena.data()),
          static_cast<size_t>(weights.arena.taken_bytes())};
}

}  // namespace octet::worker
