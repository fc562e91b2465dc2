#include "worker/weights/packed/packed_weights.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/log.h"
#include "worker/weights/packed/file.h"
#include "worker/weights/packed/format.h"
#include "worker/weights/packed/key.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {
namespace {

using Clock = std::chrono::steady_clock;

// Of what is told while a file is made on a disk, the part before its writing; and of the file, how
// much is written between two words: a slow disk is not to be taken for one that hangs.
constexpr double kMadeFraction = 0.75;
constexpr int64_t kWrittenBytes = int64_t{1} << 20;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class PackedStore {
 public:
  PackedStore(const PackedFolder& folder, const WeightsWanted& wanted, ThreadPool& pool)
      : folder_(folder),
        wanted_(wanted),
        pool_(pool),
        layout_(PackedLayout::Make(WeightPlan::Make(wanted.spec, wanted.shard, wanted.options))),
        key_(PackedKeyOf(wanted.checkpoint, wanted.shard, wanted.options)),
        path_(folder.path + "/" + PackedFileName(wanted)) {}

  // The weights of the file that is there, or nothing. A file that can not be trusted is removed,
  // for its room is needed.
  std::optional<LoadedWeights> Find(const std::function<void(double)>& progress) {
    Result<PackedFile> file = PackedFile::Open(path_);
    if (file.status().code() == StatusCode::kNotFound) return std::nullopt;
    const Clock::time_point start = Clock::now();
    Result<LoadedWeights> loaded = file.ok() ? Trust(*file, progress) : file.status();
    if (!loaded.ok()) {
      Log(LogLevel::kWarning, "packed weights " + path_ + ": " + loaded.status().message() +
                                  "; they are made again from the checkpoint");
      unlink(path_.c_str());
      return std::nullopt;
    }
    loaded->weights.arena.Seal();
    LogFound(loaded->source, SecondsSince(start));
    return std::move(*loaded);
  }

  // From the checkpoint, into the file where it is in memory.
  Result<LoadedWeights> Make(const std::function<void(double)>& progress) {
    Result<NewPackedFile> created =
        NewPackedFile::Create(folder_.path, layout_, folder_.reserve_bytes, pool_);
    Status kept = created.status();
    Buffer memory;
    if (created.ok() && created->file().in_memory()) {
      Result<Buffer> mapped = created->file().Map(layout_, /*writable=*/true);
      kept = mapped.status();
      if (mapped.ok()) memory = std::move(*mapped);
    }
    const bool writes = kept.ok() && memory.bytes() == 0;
    const std::function<void(double)> tell = progress ? progress : [](double) {};
    std::unique_ptr<SharedReads> shared = JoinReads();
    OCTET_ASSIGN_OR_RETURN(
        DecoderWeights weights,
        LoadDecoderWeights(
            wanted_.checkpoint, wanted_.spec, wanted_.shard, wanted_.options, pool_,
            [&](double fraction) { tell(writes ? kMadeFraction * fraction : fraction); },
            std::move(memory), shared.get()));
    shared.reset();
    if (writes) kept = Write(weights, *created, tell);
    if (kept.ok()) kept = Finish(weights, *created);
    if (!kept.ok()) WarnNotKept(kept);
    tell(1);
    weights.arena.Seal();
    return LoadedWeights{std::move(weights), WeightSource::kCheckpoint};
  }

 private:
  // What the ranks of a host have in common: a checkpoint, a degree and a way to keep it.
  std::unique_ptr<SharedReads> JoinReads() const {
    ShardPlan first = wanted_.shard;
    first.rank = 0;
    const std::string key = PackedKeyOf(wanted_.checkpoint, first, wanted_.options).Hex() + "-" +
                            std::to_string(folder_.host.ranks);
    return SharedReads::Join(folder_.path, key, folder_.host, folder_.reserve_bytes);
  }

  PackedHeader Expected(std::vector<WeightPart> parts) const {
    return {.key = key_, .data_bytes = layout_.data_bytes, .parts = std::move(parts)};
  }

  Result<LoadedWeights> Trust(const PackedFile& file, const std::function<void(double)>& progress) {
    if (file.bytes() != layout_.file_bytes()) {
      return DataLoss("has " + std::to_string(file.bytes()) + " bytes, expected " +
                      std::to_string(layout_.file_bytes()));
    }
    const bool in_memory = file.in_memory();
    // Reading a hole through a mapping takes a page, and where there is none left that is a signal.
    if (in_memory && file.stored_bytes() < layout_.stored_bytes()) {
      return DataLoss("has pages that were never written");
    }
    std::string header(layout_.header_bytes, '\0');
    OCTET_RETURN_IF_ERROR(file.Read(0, layout_.header_bytes, header.data()));
    Buffer memory;
    if (in_memory) {
      OCTET_ASSIGN_OR_RETURN(memory, file.Map(layout_, /*writable=*/false));
    } else {
      memory = Buffer(layout_.data_bytes);
    }
    std::byte* const data = memory.data();
    WeightAssembly assembly =
        WeightAssembly::Make(wanted_.spec, wanted_.shard, wanted_.options, std::move(memory));
    const PackedHeader expected = Expected(assembly.weights.parts);
    OCTET_ASSIGN_OR_RETURN(const std::vector<Checksum> stored,
                           DecodePackedHeader(header, expected));
    std::mutex mutex;
    int64_t fetched_bytes = 0;
    const FetchChunk fetch = [&](int64_t begin, int64_t bytes) -> const std::byte* {
      if (progress) {
        const std::lock_guard lock(mutex);
        fetched_bytes += bytes;
        progress(static_cast<double>(fetched_bytes) / static_cast<double>(layout_.data_bytes));
      }
      if (in_memory) return data + begin;
      const Status read = file.Read(layout_.data_begin + begin, bytes, data + begin);
      return read.ok() ? data + begin : nullptr;
    };
    const std::vector<Checksum> found = ChecksumsOf(expected.parts, fetch, pool_);
    for (size_t i = 0; i < found.size(); ++i) {
      if (found[i] == stored[i]) continue;
      return DataLoss("the bytes of " + expected.parts[i].name + " do not match their checksum");
    }
    return LoadedWeights{std::move(assembly.weights),
                         in_memory ? WeightSource::kMappedFile : WeightSource::kReadFile};
  }

  Status Write(const DecoderWeights& weights, NewPackedFile& created,
               const std::function<void(double)>& tell) {
    for (int64_t at = 0; at < layout_.data_bytes;) {
      const int64_t bytes = std::min(kWrittenBytes, layout_.data_bytes - at);
      OCTET_RETURN_IF_ERROR(
          created.file().Write(layout_.data_begin + at, bytes, weights.arena.data() + at));
      at += bytes;
      tell(kMadeFraction +
           (1 - kMadeFraction) * static_cast<double>(at) / static_cast<double>(layout_.data_bytes));
    }
    return {};
  }

  // The header, and the file's name. REQUIRES: the weights lie in the file.
  Status Finish(const DecoderWeights& weights, NewPackedFile& created) {
    const std::byte* const data = weights.arena.data();
    PackedHeader header = Expected(weights.parts);
    header.checksums = ChecksumsOf(
        header.parts, [data](int64_t begin, int64_t) { return data + begin; }, pool_);
    const std::string bytes = EncodePackedHeader(header);
    OCTET_RETURN_IF_ERROR(created.file().Write(0, layout_.header_bytes, bytes.data()));
    return created.Commit(path_);
  }

  void WarnNotKept(const Status& why) const {
    Log(LogLevel::kWarning,
        "rank " + std::to_string(wanted_.shard.rank) +
            " keeps its packed weights nowhere: " + why.message() +
            "; after a loss it will read the checkpoint again. Make room there (of a container: "
            "--shm-size), choose a folder with --weight-cache DIR, or --weight-cache none");
  }

  void LogFound(WeightSource source, double seconds) const {
    char line[160];
    std::snprintf(line, sizeof line, "rank %lld: packed weights checked and %s, %.1f MiB in %.2f s",
                  static_cast<long long>(wanted_.shard.rank),
                  source == WeightSource::kMappedFile ? "mapped" : "read",
                  static_cast<double>(layout_.data_bytes) / (1 << 20), seconds);
    Log(LogLevel::kInfo, line);
  }

  const PackedFolder& folder_;
  const WeightsWanted& wanted_;
  ThreadPool& pool_;
  const PackedLayout layout_;
  const Checksum key_;
  const std::string path_;
};

}  // namespace

int64_t PackedFileBytes(const ModelSpec& spec, const ShardPlan& shard,
                        const WeightOptions& options) {
  return PackedLayout::Make(WeightPlan::Make(spec, shard, options)).stored_bytes();
}

std::string PackedFileName(const WeightsWanted& wanted) {
  return PackedKeyOf(wanted.checkpoint, wanted.shard, wanted.options).Hex() + ".octet-packed";
}

Result<LoadedWeights> LoadPackedWeights(const PackedFolder& folder, const WeightsWanted& wanted,
                                        ThreadPool& pool,
                                        const std::function<void(double)>& progress) {
  if (folder.path.empty()) {
    OCTET_ASSIGN_OR_RETURN(DecoderWeights weights,
                           LoadDecoderWeights(wanted.checkpoint, wanted.spec, wanted.shard,
                                              wanted.options, pool, progress));
    weights.arena.Seal();
    return LoadedWeights{std::move(weights), WeightSource::kCheckpoint};
  }
  PackedStore store(folder, wanted, pool);
  if (std::optional<LoadedWeights> found = store.Find(progress)) return std::move(*found);
  return store.Make(progress);
}

}  // namespace octet::worker
