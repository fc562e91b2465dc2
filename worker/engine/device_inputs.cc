#include "worker/engine/device_inputs.h"

#include "base/buffer.h"
#include "base/device/device.h"

namespace octet::worker {

using kernels::ActivationFormat;

namespace {

std::vector<int32_t> TableOf(const LinearInput& input, const kernels::LinearShape& shape) {
  if (input.extent.segments == 0) return {};
  return kernels::ActivationSegments(shape);
}

int64_t BytesOf(const std::vector<int32_t>& table) {
  return static_cast<int64_t>(table.size() * sizeof(int32_t));
}

}  // namespace

DeviceInputs DeviceInputs::Of(const DecoderShapes& shapes) {
  DeviceInputs inputs;
  if (shapes.ordered_inputs) {  // norms write f32, and another op the order
    inputs.ordered = LinearInput::Of(shapes.qkv, ActivationFormat::kF32);
  } else {
    inputs.normed = LinearInput::Of(shapes.qkv, RowsFormat(shapes.qkv));
  }
  inputs.gated = LinearInput::Of(shapes.down, RowsFormat(shapes.down));
  const bool int8 = RowsFormat(shapes.o) == ActivationFormat::kInt8;
  inputs.attention =
      LinearInput::Of(shapes.o, int8 ? ActivationFormat::kF32 : ActivationFormat::kBF16);
  inputs.normed_table = TableOf(inputs.normed, shapes.qkv);
  inputs.gated_table = TableOf(inputs.gated, shapes.down);
  return inputs;
}

int64_t DeviceInputs::table_bytes() const {
  return AlignUp(BytesOf(normed_table)) + AlignUp(BytesOf(gated_table));
}

void DeviceInputs::PlaceTables(std::byte* tables, Stream& stream) {
  std::byte* const second = tables + AlignUp(BytesOf(normed_table));
  CopyToDevice(tables, normed_table.data(), BytesOf(normed_table), stream);
  CopyToDevice(second, gated_table.data(), BytesOf(gated_table), stream);
  Synchronize(stream);
  normed.segments = reinterpret_cast<const int32_t*>(tables);
  gated.segments = reinterpret_cast<const int32_t*>(second);
}

}  // namespace octet::worker
