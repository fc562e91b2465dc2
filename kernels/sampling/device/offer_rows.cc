#include "kernels/sampling/device/offer_rows.h"

#include "kernels/dispatch.h"
#include "kernels/sampling/device/row_workspace.h"

namespace octet::kernels {

int64_t OfferWorkspaceBytes(int64_t rows_max, int64_t held) {
  return RowWorkspace::Bytes(rows_max, held);
}

void OfferRows(const OfferRowsArgs& args, Stream& stream) {
  CheckCut(args.cut, args.state.shape.vocab);
  if (args.rows_max == 0) return;
  constexpr int64_t kGridRowsMax = 65535;
  OCTET_CHECK(args.rows_max > 0 && args.rows_max <= kGridRowsMax);
  OCTET_CHECK(args.step != nullptr && args.rows != nullptr);
  OCTET_CHECK(args.logits != nullptr || args.cut.held() == 0);
  OCTET_CHECK(args.workspace != nullptr || args.cut.held() == 0);
  OCTET_CHECK(args.send != nullptr);
  Dispatch(cuda::OfferRows, args, stream);
}

}  // namespace octet::kernels
