#include "kernels/sampling/device/choose_rows.h"

#include "kernels/dispatch.h"

namespace octet::kernels {

void ChooseRows(const ChooseRowsArgs& args, Stream& stream) {
  CheckCut(args.cut, args.state.shape.vocab);
  if (args.rows_max == 0) return;
  OCTET_CHECK_GT(args.rows_max, 0);
  OCTET_CHECK(args.step != nullptr && args.rows != nullptr && args.gather != nullptr);
  OCTET_CHECK(args.tokens != nullptr && args.told != nullptr);
  Dispatch(cuda::ChooseRows, args, stream);
}

}  // namespace octet::kernels
