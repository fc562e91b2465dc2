// The forms of a linear with int8 activations between which cuda::Linear8 chooses.
#pragma once

#include "base/device/stream.h"
#include "kernels/linear/k_walk.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear8_plan.h"

namespace octet::kernels::cuda {

struct Linear8Params;  // linear8.cuh

// cuda::Linear8 by a plan of the caller's, which has its own workspace: `plan.bytes`.
OCTET_CUDA_OP void Linear8ByPlan(const LinearArgs& args, const Linear8Plan& plan, Stream& stream);

// Whether the form for sm_90a takes this case: more than 16 rows and whole blocks. The bits are
// the same.
constexpr bool TakesLinear8Sm90(const Linear8Plan& plan, const KWalk& walk) {
  return plan.tile_tokens >= 32 && walk.whole;
}

// Multiply what cuda::Linear8 has put into `params`; they fill in what is of their shared memory.
OCTET_CUDA_OP void Linear8Mma(Linear8Params& params, const Linear8Plan& plan, bool int4,
                              bool asymmetric, Stream& stream);
OCTET_CUDA_OP void Linear8Sm90(Linear8Params& params, const Linear8Plan& plan, bool int4,
                               bool asymmetric, Stream& stream);
// Where plan.is_few(); adds the parts too.
OCTET_CUDA_OP void Linear8FewSm90(Linear8Params& params, const Linear8Plan& plan, bool int4,
                                  bool asymmetric, Stream& stream);

}  // namespace octet::kernels::cuda
