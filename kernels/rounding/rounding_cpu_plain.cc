#include "kernels/rounding/rounding_clamped.h"

namespace octet::kernels {
namespace {

struct PlainSteps : ClampedSteps {
  using ClampedSteps::ClampedSteps;
  static F32x16 Narrow(F32x16 scales) {
    float narrow[kLanes];
    StoreLanes(narrow, scales);
    for (float& scale : narrow) scale = NarrowScale(scale);
    return LoadLanes(narrow);
  }
  static uint32_t Likely(const float*, int64_t, const float*, const float*) { return kAllLikely; }
};

}  // namespace

const RoundingBody kPlainRounding = kBody<PlainSteps>;

}  // namespace octet::kernels
