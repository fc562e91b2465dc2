// How a linear with int8 activations is dealt to the thread blocks of a GPU, and what that takes of
// the workspace. Pure, on the host; a function of shape and rows alone, as bits are of neither.
//
// Workspace: int8 activations, for callers that bring f32 | sums of the parts | sums that wait in
// blocks (global levels), each aligned to 256 bytes.
#pragma once

#include <cstdint>

#include "kernels/linear/activation_rows.h"
#include "kernels/linear/few_deal.h"
#include "kernels/linear/k_walk.h"
#include "kernels/linear/leaf_parts.h"
#include "kernels/linear/linear.h"

namespace octet::kernels {

inline constexpr uint8_t kSumWaits = 0xff;
inline constexpr uint8_t kSumInRegisters = 0xff;  // in the place of a slot
// The most blocks that run at once with waiting sums in global memory. More would be in vain: no
// GPU of today has more multiprocessors than half of this.
inline constexpr int32_t kWaitingBlocksMax = 320;

// Of linear8_few.cuh.
struct Linear8Few {
  FewNeeds needs;
  int32_t stage_bytes = 0;  // 0: another form takes it
  int32_t levels = 0;       // of sums of a panel that wait in shared memory
  int32_t blocks_max = 0;   // of inputs, of a block's parts
  int32_t leaves_max = 0;   // of them
  int32_t ahead = 0;        // bytes that a warp asks for in L2, at the beginning
};

struct Linear8Plan {
  int32_t tile_tokens = 0;  // rows that a block takes: 8, 16, 32, 64 or 128
  int32_t tile_panels = 0;  // panels of 64 outputs that it takes
  int32_t token_tiles = 0;  //
  int32_t panel_tiles = 0;  //
  LeafParts parts;          //
  Linear8Few few;           //
  // On wgmma: every block of inputs is a segment, and leaves come in pairs, of which the left one
  // waits in registers.
  bool pairs = false;
  uint8_t left_sum[kPartLeavesMax] = {};  // the sum that is left after a leaf, or kSumWaits
  // Sums that wait in a block lie in slots. Those that wait for fewer leaves, and so come more
  // often, have the lower ones: they are the first to be in shared memory.
  uint8_t push_slot[kPartLeavesMax] = {};  // of the sum that waits after a leaf
  uint8_t pop_first[kPartLeavesMax] = {};  // where the slots of the sums added after a leaf are
  uint8_t pop_slot[kPartLeavesMax] = {};   //   in this list
  int32_t waiting_max = 0;                 // slots of a block
  int64_t waiting_bytes = 0;               // of one of them
  int32_t waiting_blocks = 0;              // that have room in the workspace
  int64_t activations_at = 0, sums_at = 0, waiting_at = 0, bytes = 0;  // of the workspace

  int64_t items() const { return int64_t{token_tiles} * panel_tiles * parts.parts; }
  bool is_few() const { return few.stage_bytes > 0; }

  // `rows_format` is what the caller brings: kInt8 or kF32. `clusters`: the device has them, and
  // so linear8_few.cuh. parts: 0 for as many as fill a GPU.
  // REQUIRES: rows, outputs and inputs above 0.
  static Linear8Plan Of(const LinearShape& shape, int64_t rows, ActivationFormat rows_format,
                        bool clusters, int64_t parts = 0);
};

// LinearWorkspaceBytes of this layout: enough for any number of rows up to `rows`.
int64_t Linear8WorkspaceBytes(const LinearShape& shape, int64_t rows, ActivationFormat rows_format);

}  // namespace octet::kernels
