#include "worker/weights/packed/key.h"

#include <sys/stat.h>

#include "base/build_id.h"
#include "worker/weights/packed/format.h"
#include "worker/weights/static_kv_scales.h"

namespace octet::worker {
namespace {

// The build id names a revision, and two programs can be built from one: of a changed tree, or with
// other flags. So the program file counts too.
std::string ProgramIdentity() {
  struct stat found {};
  if (stat("/proc/self/exe", &found) != 0) return "unknown";
  return std::to_string(found.st_size) + " " + std::to_string(found.st_mtim.tv_sec) + "." +
         std::to_string(found.st_mtim.tv_nsec);
}

}  // namespace

Checksum PackedKeyOf(const Checkpoint& checkpoint, const ShardPlan& shard,
                     const WeightOptions& options) {
  std::string text = "version " + std::to_string(kPackedVersion);
  text += "\nbuild ";
  text += BuildId();
  text += "\nprogram " + ProgramIdentity();
  const int64_t choices[] = {static_cast<int64_t>(options.layers),
                             static_cast<int64_t>(options.head),
                             static_cast<int64_t>(options.embedding),
                             options.group,
                             static_cast<int64_t>(options.layout),
                             options.static_kv ? 1 : 0,
                             shard.ranks,
                             shard.rank};
  text += "\nlayers, head, embedding, group, layout, static kv, ranks, rank";
  for (const int64_t choice : choices) text += " " + std::to_string(choice);
  text += "\nstored " + options.stored.Digest();
  const QuantizationTexts& quantization = checkpoint.quantization();
  text += "\nquantize_config\n" + quantization.quantize_config.value_or("none");
  text += "\nquant_config\n" + quantization.quant_config.value_or("none");
  text += "\nfiles\n" + checkpoint.Identity();
  if (options.static_kv) text += KvScaleFilesIdentity(checkpoint);
  text += "config\n" + checkpoint.config_json();
  return ChecksumOf(text);
}

}  // namespace octet::worker
