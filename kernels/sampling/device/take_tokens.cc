#include "kernels/sampling/device/take_tokens.h"

#include "kernels/dispatch.h"

namespace octet::kernels {

void TakeTokens(const TakeTokensArgs& args, Stream& stream) {
  if (args.rows_max == 0) return;
  OCTET_CHECK_GT(args.rows_max, 0);
  OCTET_CHECK(args.slots != nullptr && args.given != nullptr && args.positions != nullptr);
  OCTET_CHECK(args.tokens != nullptr);
  Dispatch(cuda::TakeTokens, args, stream);
}

}  // namespace octet::kernels
