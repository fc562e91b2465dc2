// One rank's weights from the file that an earlier rank left, else from the checkpoint, leaving a
// file for the next. In a folder in memory (tmpfs) the weights live in the file: ranks that come
// later map the same pages, and memory is counted once. From any other folder they are read into
// memory of their own, because a mapped page of a disk can be taken away between two steps.
//
// A file is believed after its header and the checksum of every part were found right. What is
// wrong with a folder or a file is a warning: the checkpoint is always there. Weights are sealed: a
// write to them is a fault.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "base/thread_pool.h"
#include "worker/weights/loader.h"

namespace octet::worker {

struct PackedFolder {
  std::string path;           // empty: nothing is kept
  int64_t reserve_bytes = 0;  // of the file system, for others
  // In a folder in memory, the ranks of this host read together what all of them need whole.
  HostPlace host;
};

// What LoadDecoderWeights is told. All outlive the call.
struct WeightsWanted {
  const Checkpoint& checkpoint;
  const ModelSpec& spec;
  const ShardPlan& shard;
  const WeightOptions& options;
};

enum class WeightSource { kCheckpoint, kMappedFile, kReadFile };

struct LoadedWeights {
  DecoderWeights weights;
  WeightSource source = WeightSource::kCheckpoint;
};

// Bytes that a rank's file takes: the weights, a header, and what is missing to whole pages.
int64_t PackedFileBytes(const ModelSpec& spec, const ShardPlan& shard,
                        const WeightOptions& options);

// The file's name in the folder.
std::string PackedFileName(const WeightsWanted& wanted);

// `progress` as LoadDecoderWeights calls it; while a file is checked, from all threads in turn, and
// while one is written, after every MiB of it. 1 may be told twice.
Result<LoadedWeights> LoadPackedWeights(const PackedFolder& folder, const WeightsWanted& wanted,
                                        ThreadPool& pool,
                                        const std::function<void(double)>& progress);

}  // namespace octet::worker
