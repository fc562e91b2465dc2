// The kernels of the linear with bf16 activations, one function per weight format and instruction
// family, so that each is a file of its own to compile. Weak: a test may link some of them.
#pragma once

#include "base/device/stream.h"
#include "kernels/linear/linear16_plan.h"

namespace octet::kernels::cuda {

struct Linear16Kernel;  // linear16.cuh

// Linear16 with a plan of the caller's, whose workspace_bytes args.workspace has.
OCTET_CUDA_OP void Linear16ByPlan(const LinearArgs& args, const Cuda16Layout& layout,
                                  const Linear16Plan& plan, MatrixFamily family, Stream& stream);

OCTET_CUDA_OP void LaunchLinear16MmaInt4(const Linear16Plan& plan, const Linear16Kernel& k,
                                         Stream& stream);
OCTET_CUDA_OP void LaunchLinear16MmaInt8(const Linear16Plan& plan, const Linear16Kernel& k,
                                         Stream& stream);
OCTET_CUDA_OP void LaunchLinear16MmaFloat(WeightFormat format, const Linear16Plan& plan,
                                          const Linear16Kernel& k, Stream& stream);
OCTET_CUDA_OP void LaunchLinear16FewInt4(const Linear16Plan& plan, const Linear16Kernel& k,
                                         Stream& stream);
OCTET_CUDA_OP void LaunchLinear16FewInt8(const Linear16Plan& plan, const Linear16Kernel& k,
                                         Stream& stream);
OCTET_CUDA_OP void LaunchLinear16StreamInt4(const Linear16Plan& plan, const Linear16Kernel& k,
                                            Stream& stream);
OCTET_CUDA_OP void LaunchLinear16WideInt4(const Linear16Plan& plan, const Linear16Kernel& k,
                                          Stream& stream);
OCTET_CUDA_OP void LaunchLinear16WideInt8(const Linear16Plan& plan, const Linear16Kernel& k,
                                          Stream& stream);
OCTET_CUDA_OP void LaunchLinear16WgmmaInt4(const Linear16Plan& plan, const Linear16Kernel& k,
                                           Stream& stream);
OCTET_CUDA_OP void LaunchLinear16WgmmaInt8(const Linear16Plan& plan, const Linear16Kernel& k,
                                           Stream& stream);
OCTET_CUDA_OP void LaunchLinear16WgmmaFloat(WeightFormat format, const Linear16Plan& plan,
                                            const Linear16Kernel& k, Stream& stream);

}  // namespace octet::kernels::cuda
