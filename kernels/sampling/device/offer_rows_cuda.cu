#include "kernels/sampling/device/offer_rows.h"
#include "kernels/sampling/device/pick_best.cuh"
#include "kernels/sampling/device/scan_runs.cuh"

namespace octet::kernels::cuda {

void OfferRows(const OfferRowsArgs& args, Stream& stream) {
  const auto rows = static_cast<unsigned>(args.rows_max);
  const auto runs = static_cast<unsigned>(RowWorkspace(nullptr, args.cut.held()).runs);
  if (runs > 0) OCTET_LAUNCH(ScanRuns, dim3(runs, rows), dim3(kRunThreads), 0, stream, args);
  OCTET_LAUNCH(PickBest, dim3(rows, 2), dim3(kPickThreads), 0, stream, args);
}

}  // namespace octet::kernels::cuda
