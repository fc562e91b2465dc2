// How the panels of a linear for few rows (linear16_few.cuh, linear8_few.cuh) are dealt to the
// multiprocessors of a GPU, and what each holds in shared memory. Nothing here changes a bit.
//
// Leaves are dealt to parts (leaf_parts.h). A thread block has `split` parts of a column of panels,
// and a warp one of them of a panel at a time, with a ring of its own. The blocks that have the
// parts of the same column are a cluster.
//
// Pure and on the host.
#pragma once

#include <cstdint>
#include <optional>

#include "kernels/linear/leaf_parts.h"

namespace octet::kernels {

inline constexpr int64_t kFewClusterMax = 8;  // blocks
inline constexpr int64_t kFewPanelOutputs = 64;

// What a block and its warps take of a multiprocessor.
struct FewNeeds {
  int64_t shared_bytes = 0;  // once a block
  int64_t warp_bytes = 0;    // once a warp, beside its ring
  int64_t stage_bytes = 0;   // a stage of a ring and its barrier; 0: there are no rings
  int32_t warps_max = 0;     // as registers allow
  int32_t split = 1;         // warps that share a panel
};

struct FewDeal {
  int32_t columns = 0;
  int32_t column_panels = 0;
  int32_t longer_columns = 0;  // so many have one panel more
  int32_t warps = 0;           // of a block, a multiple of split
  int32_t split = 1;           // warps that share a panel
  int32_t stages = 0;          // of a warp's ring, a block of inputs each, if there is one

  int32_t panels_max() const { return column_panels + (longer_columns > 0 ? 1 : 0); }
};

// Nothing where a block does not fit. `cluster`: blocks that share a column.
std::optional<FewDeal> DealFew(const FewNeeds& needs, int64_t panels, int64_t cluster,
                               int64_t multiprocessors);

// Whether the topmost of a warp's sums that wait is in registers.
constexpr bool FewTopInRegisters(int64_t rows) { return rows <= 16; }
// The same in linear16_stream.cuh, whose warps have fewer registers.
constexpr bool StreamTopInRegisters(int64_t rows) { return rows <= 8; }
// How many sums of a panel wait in shared memory at most.
int32_t FewLevels(const LeafParts& parts, bool top_in_registers);

// Clocks of a block of inputs of a panel, fitted to measurements.
struct FewClocks {
  double turn;  // from one to the next in a warp, when few others are busy
  double turn_token;
  double busy;  // from one to the next in a multiprocessor, when its warps are busy
  double busy_token;
  double begin = 7000;  // and end
  double meet = 5000;   // the warps of a panel, the blocks of a cluster
};
// Clocks that it takes. `blocks` of inputs of a whole panel, `block_bytes` of one of them.
double CostOfFew(const FewDeal& deal, const FewClocks& clocks, int64_t cluster, double blocks,
                 double block_bytes, int64_t rows);

}  // namespace octet::kernels
