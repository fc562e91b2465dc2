// Reads the pieces of packed modules: the bytes of a rank's rows and inputs into a staging buffer
// of bounded size, on all threads, then codes and scales from there into the packed linear. Values
// are checked on the way. One piece at a time, from one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "kernels/linear/linear.h"
#include "worker/weights/checkpoint.h"
#include "worker/weights/piece_packer.h"
#include "worker/weights/stored_modules.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {

// Read before it is unpacked, of all tensors of a module together, or what 48 outputs need.
inline constexpr int64_t kStagedBytesMax = int64_t{64} << 20;

class StoredPieceLoader {
 public:
  StoredPieceLoader(const Checkpoint& checkpoint, const StoredModules& modules, ThreadPool& pool)
      : checkpoint_(checkpoint),
        modules_(modules),
        pool_(pool),
        packer_(pool),
        scratch_(pool.threads()) {}

  // `advance` is told of weights that were read, rows * inputs of the piece in the end; from all
  // threads.
  Status Load(const LinearPiece& piece, const kernels::LinearShape& shape,
              const std::function<void(int64_t)>& advance);

  // What was odd, as a sentence; empty: nothing.
  std::string Warning() const;

 private:
  struct Scratch {
    std::vector<float> scales;
    std::vector<float> offsets;
    StoredOddities oddities;
  };
  // The tensors of one module, and what is staged of them.
  struct Module {
    const std::string& name;
    const StoredFormat& format;
    std::vector<StoredTensorSpec> specs;
    std::vector<const Checkpoint::Tensor*> tensors;  // null: not there
    int64_t inputs = 0;                              // unsharded
  };

  Status Stage(const Module& module, const StoredBlock& block,
               const std::function<void(int64_t)>& advance);
  Status Unpack(const Module& module, const StoredBlock& block, const kernels::LinearShape& shape,
                int thread, int64_t row_begin, int64_t row_end, kernels::NeutralRows* rows);

  const Checkpoint& checkpoint_;
  const StoredModules& modules_;
  ThreadPool& pool_;
  PiecePacker packer_;
  std::vector<Scratch> scratch_;  // of each thread
  std::vector<std::byte> bytes_;
  StagedModule staged_;
};

}  // namespace octet::worker
