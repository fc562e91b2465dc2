// Running linears with int8 activations on a device: the emulator's or a GPU's.
#pragma once

#include "base/device/device_info.h"
#include "kernels/linear/linear8.h"
#include "kernels/linear/quantize_activations.h"
#include "tests/kernels/linear/linear_cases.h"
#include "tests/kernels/linear/linear_reference.h"
#include "tests/support/test_device.h"

namespace octet::kernels {

inline LinearShape ForCuda8(LinearShape shape) {
  shape.layout = WeightLayout::kCuda8;
  return shape;
}

// What a device is to give, to the bit.
inline std::vector<float> Expected8(const LinearShape& shape, const NeutralRows& weights,
                                    const std::vector<float>& x, int64_t rows,
                                    const std::vector<float>& bias = {}) {
  return ReferenceLinear(ForCuda8(shape), weights, x, rows, bias, ActivationFormat::kInt8,
                         Isa::kPlain);
}

// Packed weights on the device, once for many runs.
struct DeviceLinear {
  LinearShape shape;
  DeviceBuffer weights;

  DeviceLinear(const LinearShape& cpu_shape, const NeutralRows& rows, Stream& stream)
      : shape(ForCuda8(cpu_shape)) {
    const Buffer packed = Pack(shape, rows);
    const std::vector<std::byte> bytes(packed.data(), packed.data() + packed.bytes());
    weights = octet::test::ToDevice(bytes, stream);
  }
};

inline DeviceBuffer DeviceBytes(int64_t bytes) {
  Result<DeviceBuffer> buffer = DeviceBuffer::Allocate(bytes);
  OCTET_CHECK(buffer.ok());
  return std::move(buffer).value();
}

// Int8 rows on the device, as a producer leaves them. Allocated for `capacity` rows.
struct Int8DeviceRows {
  DeviceBuffer bytes;
  ActivationRows rows;

  Int8DeviceRows(const LinearShape& shape, const std::vector<float>& x, int64_t row_count,
                 int64_t capacity, Stream& stream) {
    const ActivationExtent extent = ActivationExtentOf(shape, ActivationFormat::kInt8);
    bytes = DeviceBytes(ActivationRowsBytes(extent, capacity));
    rows = PlaceActivationRows(extent, capacity, nullptr, bytes.data());
    const DeviceBuffer values = octet::test::ToDevice(x, stream);
    QuantizeActivationsArgs args;
    args.shape = &shape;
    args.x = values.as<float>();
    args.x_stride = shape.inputs;
    args.rows = row_count;
    args.out = rows;
    cuda::QuantizeActivations(args, stream);
    Synchronize(stream);
  }
};

// [roots, rows, outputs]. parts: 0 for what cuda::Linear8 chooses.
inline std::vector<float> RunOnDevice(const DeviceLinear& linear, const ActivationRows& x,
                                      int64_t rows, const std::vector<float>& bias, Stream& stream,
                                      int64_t parts = 0) {
  const LinearShape& shape = linear.shape;
  const bool clusters = stream.info().has_wgmma();
  const Linear8Plan plan =
      parts > 0 ? Linear8Plan::Of(shape, rows, x.format, clusters, parts) : Linear8Plan();
  const DeviceBuffer workspace =
      DeviceBytes(parts > 0 ? plan.bytes
                            : LinearWorkspaceBytes(shape, ActivationFormat::kInt8, rows, x.format));
  const DeviceBuffer out = DeviceBytes(shape.root_count() * rows * shape.outputs * 4);
  const DeviceBuffer device_bias =
      bias.empty() ? DeviceBuffer() : octet::test::ToDevice(bias, stream);
  LinearArgs args;
  args.shape = &shape;
  args.weights = linear.weights.data();
  args.activations = x;
  args.rows = rows;
  args.bias = bias.empty() ? nullptr : device_bias.as<float>();
  args.out = out.as<float>();
  args.activation = ActivationFormat::kInt8;
  args.workspace = workspace.data();
  if (parts > 0) {
    cuda::Linear8ByPlan(args, plan, stream);
  } else {
    cuda::Linear8(args, stream);
  }
  return octet::test::ToHost<float>(out, stream);
}

// From f32 rows, which the call itself scales.
inline std::vector<float> RunOnDevice(const DeviceLinear& linear, const std::vector<float>& x,
                                      int64_t rows, const std::vector<float>& bias, Stream& stream,
                                      int64_t parts = 0) {
  const DeviceBuffer values = octet::test::ToDevice(x, stream);
  ActivationRows f32;
  f32.values = values.data();
  f32.stride = linear.shape.inputs;
  return RunOnDevice(linear, f32, rows, bias, stream, parts);
}

}  // namespace octet::kernels
