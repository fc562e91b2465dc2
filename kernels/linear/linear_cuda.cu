// Which form of a linear serves on CUDA: the layout of the packed weights says so.
#include "base/check.h"
#include "kernels/linear/linear.h"

namespace octet::kernels::cuda {

void Linear(const LinearArgs& args, Stream& stream) {
  OCTET_CHECK(args.shape->layout != WeightLayout::kCpuPanels);
  const auto form = args.shape->layout == WeightLayout::kCuda16 ? Linear16 : Linear8;
  const bool form_is_linked = form != nullptr;
  OCTET_CHECK(form_is_linked);
  form(args, stream);
}

}  // namespace octet::kernels::cuda
