// Reads the pieces of packed modules: the bytes of a rank's rows and inputs into a staging buffer
// of bounded size, on all threads, then codes and scales from there into the packed linear, in the
// order in which it is kept. Values are checked on the way. One piece at a time, from one thread.
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
#include "worker/weights/shared_reads.h"
#include "worker/weights/stored_modules.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {

// Read before it is unpacked, of all tensors of a module together, or what 48 outputs need.
inline constexpr int64_t kStagedBytesMax = int64_t{64} << 20;
// A module whose outputs are kept in another order, or whose inputs are dealt to ranks in another,
// is staged whole: once for all ranks of the host where they share their reads.
inline constexpr int64_t kWholeStagedBytesMax = int64_t{768} << 20;

class StoredPieceLoader {
 public:
  // `shared` may be null: modules that are staged whole are then read by this rank alone.
  StoredPieceLoader(const Checkpoint& checkpoint, const StoredModules& modules, ThreadPool& pool,
                    SharedReads* shared)
      : checkpoint_(checkpoint),
        modules_(modules),
        pool_(pool),
        shared_(shared),
        packer_(pool),
        scratch_(pool.threads()) {}

  // `advance` is told of weights that were read, rows * inputs of the piece in the end; from all
  // threads.
  Status Load(const LinearPiece& piece, const kernels::LinearShape& shape,
              const std::function<void(int64_t)>& advance);

  // What was odd, as a sentence; empty: nothing.
  std::string Warning() const;

 private:
  // What the format gives of some rows, of one thread.
  struct Scratch {
    std::vector<uint8_t> codes;  // [rows, inputs of the block]
    std::vector<float> scales;   // [rows, groups of the block]
    std::vector<float> offsets;  // likewise, or empty
    StoredOddities oddities;
  };
  // One module: where its tensors are, and in which order it is kept.
  struct Module {
    const std::string& name;
    const StoredFormat& format;
    std::vector<StoredTensorSpec> specs;
    std::vector<const Checkpoint::Tensor*> tensors;  // null: not there
    int64_t outputs = 0;                             // unsharded
    int64_t inputs = 0;
    // See StoredModules; null where all is kept as it lies.
    const std::vector<int32_t>* input_order = nullptr;
    const std::vector<int32_t>* output_order = nullptr;
    const std::vector<int32_t>* group_numbers = nullptr;  // of inputs that are kept as they lie
    const InputRuns* runs = nullptr;                      // of a linear that is kept so
    bool is_row_parallel = false;                         // and so each rank has some of the inputs
  };

  Module Describe(const LinearPiece& piece, const kernels::LinearShape& shape) const;
  Status LoadWhole(const Module& module, StoredBlock block, const LinearPiece& piece,
                   const kernels::LinearShape& shape, const std::function<void(int64_t)>& advance);
  Status LoadBlock(const Module& module, const StoredBlock& block, const LinearPiece& piece,
                   const kernels::LinearShape& shape, const std::function<void(int64_t)>& advance);
  Status PackStaged(const Module& module, const StoredBlock& block, const LinearPiece& piece,
                    const kernels::LinearShape& shape);
  Status Stage(const Module& module, const StoredBlock& block,
               const std::function<void(int64_t)>& advance, int64_t weights);
  void PlaceStaged(const Module& module, const StoredBlock& block, const std::byte* bytes);
  Status ReadPart(const Module& module, const StoredBlock& block, int part, int parts,
                  std::byte* whole, const std::function<void(int64_t)>& advance) const;
  Status Unpack(const Module& module, const StoredBlock& block, int64_t row_begin, int64_t row_end,
                Scratch* scratch) const;

  const Checkpoint& checkpoint_;
  const StoredModules& modules_;
  ThreadPool& pool_;
  SharedReads* const shared_;
  PiecePacker packer_;
  std::vector<Scratch> scratch_;  // of each thread
  std::vector<std::byte> bytes_;
  StagedModule staged_;
};

}  // namespace octet::worker
