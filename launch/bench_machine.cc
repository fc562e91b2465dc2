#include "launch/bench_machine.h"

#include <algorithm>
#include <functional>

#include "kernels/roofline/matrix_rate.h"
#include "kernels/roofline/roofline.h"

namespace octet::launch {
namespace {

constexpr int64_t kCopyBytes = int64_t{1} << 30;  // far more than any cache of a GPU
constexpr int kRepetitions = 20;

// The best of several, as other work only ever makes one slower.
double BestMilliseconds(Stream& stream, const std::function<void()>& work) {
  double best_ms = 0;
  for (int i = 0; i < kRepetitions; ++i) {
    Event begin, end;
    begin.Record(stream);
    work();
    end.Record(stream);
    end.Synchronize();
    const double ms = Event::MillisecondsBetween(begin, end);
    if (i == 0 || ms < best_ms) best_ms = ms;
  }
  return best_ms;
}

// Read and written bytes per second.
Result<double> CopyBandwidth(Gpu& gpu, Stream& stream) {
  const int64_t bytes = std::min(kCopyBytes, gpu.free_bytes() / 4);
  OCTET_ASSIGN_OR_RETURN(const DeviceBuffer from, DeviceBuffer::Allocate(bytes));
  OCTET_ASSIGN_OR_RETURN(const DeviceBuffer to, DeviceBuffer::Allocate(bytes));
  FillBytes(from.data(), 1, bytes, stream);
  const double best_ms =
      BestMilliseconds(stream, [&] { CopyOnDevice(to.data(), from.data(), bytes, stream); });
  return best_ms > 0 ? 2 * static_cast<double>(bytes) / (best_ms / 1e3) : 0.0;
}

// Operations per second of the matrix units, by the fastest form that the GPU has.
Result<double> MatrixRate(Gpu& gpu, Stream& stream, bool int8) {
  constexpr int64_t kIterations = 4096;
  const int64_t blocks = 2 * gpu.info().sm_count;
  OCTET_ASSIGN_OR_RETURN(const DeviceBuffer elements,
                         DeviceBuffer::Allocate(blocks * int64_t{sizeof(float)}));
  const kernels::MatrixLoopArgs args = {
      .int8 = int8, .blocks = blocks, .iterations = kIterations, .elements = elements.as<float>()};
  const double best_ms = BestMilliseconds(stream, [&] { kernels::MatrixLoop(args, stream); });
  return best_ms > 0 ? kernels::MatrixLoopOperations(args, stream) / (best_ms / 1e3) : 0.0;
}

}  // namespace

MachineSpeed MachineSpeed::With(const MachineSpeed& other) const {
  return {.bandwidth = std::max(bandwidth, other.bandwidth),
          .sustained_bandwidth = (sustained_bandwidth + other.sustained_bandwidth) / 2,
          .int8_peak = std::max(int8_peak, other.int8_peak),
          .bf16_peak = std::max(bf16_peak, other.bf16_peak)};
}

Status MeasureMachine(Gpu* gpu, Stream& stream, MachineSpeed* speed) {
  if (gpu == nullptr) {
    const kernels::ReadBandwidth read = kernels::MeasureReadBandwidth(stream);
    speed->bandwidth = read.best;
    speed->sustained_bandwidth = read.sustained;
    speed->int8_peak = kernels::MeasureInt8Peak(stream);
    return {};
  }
  OCTET_ASSIGN_OR_RETURN(speed->bandwidth, CopyBandwidth(*gpu, stream));
  OCTET_ASSIGN_OR_RETURN(speed->bf16_peak, MatrixRate(*gpu, stream, false));
  OCTET_ASSIGN_OR_RETURN(speed->int8_peak, MatrixRate(*gpu, stream, true));
  return {};
}

}  // namespace octet::launch
