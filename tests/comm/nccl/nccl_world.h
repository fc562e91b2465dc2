// A rank of a group that exchanges by NCCL, the fake's: with the emulator or host_gpu.cc as its
// device, and threads as ranks.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>

#include "base/device/device.h"
#include "comm/nccl/nccl_communicator.h"
#include "tests/comm/nccl/loaded_fake.h"

namespace octet::comm {

// So small that every sum but the shortest goes by slices, and the long ones in pieces.
inline NcclOptions SlicingOptions() {
  return {.library = OCTET_FAKE_NCCL,
          .one_shot_root_bytes_max = 256,
          .area_bytes_max = int64_t{16} << 10};
}

// From now on what the fake does is work of the streams it is given, captured in graphs like the
// rest.
inline void QueueFakeNccl() {
  Fake().enqueue = [](void* queue, void (*work)(void*), void* data) {
    // The fake is given the queue alone, as NCCL is; all ranks' devices are of one kind.
    static const DeviceInfo info = Gpu::Open({}).value()->info();
    Stream stream(&info, queue);
    CallOnHost(work, data, stream);
  };
}

// Runs `body` on a rank of the group that all of `control`'s ranks form.
inline void RunOnNccl(Communicator& control, const CommunicatorLimits& limits, bool by_slices,
                      const std::function<void(Communicator&, Stream&)>& body) {
  const NcclOptions options =
      by_slices ? SlicingOptions() : NcclOptions{.library = OCTET_FAKE_NCCL};
  QueueFakeNccl();
  Result<std::unique_ptr<Gpu>> gpu = Gpu::Open({});
  ASSERT_TRUE(gpu.ok()) << gpu.status().message();
  Result<DeviceBuffer> area =
      DeviceBuffer::Allocate(NcclAreaBytes(limits, control.size(), options.area_bytes_max));
  ASSERT_TRUE(area.ok()) << area.status().message();
  GroupWatch watch({.rank = control.rank()});
  const NcclCommunicator::Place place = {
      .control = &control, .watch = &watch, .area = area->data()};
  Result<std::unique_ptr<NcclCommunicator>> made = NcclCommunicator::Create(place, limits, options);
  ASSERT_TRUE(made.ok()) << made.status().message();
  body(**made, (*gpu)->stream());
}

}  // namespace octet::comm
