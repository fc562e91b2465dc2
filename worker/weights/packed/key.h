// What decides the bytes of one rank's packed weights, as one number: the checkpoint's files (name,
// size, time of modification, device, inode) and config.json, how weights are kept, which shard,
// and the program that packs. Not the instruction set: packed bytes do not depend on it.
#pragma once

#include "worker/model/shard_plan.h"
#include "worker/weights/checkpoint.h"
#include "worker/weights/packed/checksum.h"

namespace octet::worker {

Checksum PackedKeyOf(const Checkpoint& checkpoint, const ShardPlan& shard,
                     const WeightOptions& options);

}  // namespace octet::worker
