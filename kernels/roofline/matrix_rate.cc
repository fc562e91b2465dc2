#include "kernels/roofline/matrix_rate.h"

#include "base/check.h"
#include "base/device/device_info.h"
#include "kernels/roofline/matrix_tiles.h"

namespace octet::kernels {

double MatrixLoopOperations(const MatrixLoopArgs& args, const Stream& stream) {
  const MatrixTiles tiles = MatrixTiles::Of(stream.info().has_wgmma(), args.int8);
  return 2.0 * static_cast<double>(tiles.products) * static_cast<double>(args.blocks) *
         static_cast<double>(args.iterations);
}

double MatrixLoopElement(const MatrixLoopArgs& args, const Stream& stream) {
  const MatrixTiles tiles = MatrixTiles::Of(stream.info().has_wgmma(), args.int8);
  return static_cast<double>(tiles.depth) * static_cast<double>(args.iterations);
}

void MatrixLoop(const MatrixLoopArgs& args, Stream& stream) {
  OCTET_CHECK(stream.device() == Device::kCuda);
  OCTET_CHECK_GT(args.blocks, 0);
  OCTET_CHECK(args.elements != nullptr);
  const auto form = stream.info().has_wgmma() ? cuda::MatrixLoopWgmma : cuda::MatrixLoopMma;
  const bool form_is_linked = form != nullptr;
  OCTET_CHECK(form_is_linked);
  form(args, stream);
}

}  // namespace octet::kernels
