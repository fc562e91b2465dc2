// What a host or a kernel may do wrong with device memory, and how the emulator says so.
#include <vector>

#include "tests/base/device/conformance.h"
#include "tests/support/test_device.h"

namespace octet {
namespace {

using conformance::AddAmount;

Stream& TestStream() { return test::TestGpu()->stream(); }

class HostBugTest : public testing::Test {
 protected:
  HostBugTest()
      : data_(test::ToDevice(std::vector<uint32_t>(64, 0), TestStream())),
        amount_(test::ToDevice(std::vector<uint32_t>{1}, TestStream())) {}
  DeviceBuffer data_, amount_;
};

TEST_F(HostBugTest, TheHostReadsDeviceMemory) {
  EXPECT_DEATH(std::exit(*data_.as<volatile uint32_t>() == 0 ? 0 : 1),
               "SEGV(.|\n)*the host touched it");
}

TEST_F(HostBugTest, AKernelReadsHostMemory) {
  const std::vector<uint32_t> host_amount = {1};
  EXPECT_DEATH(AddAmount(host_amount.data(), data_.as<uint32_t>(), TestStream()),
               "a load from host memory(.|\n)*conformance_core.cu");
}

TEST_F(HostBugTest, AKernelReadsWhatWasFreed) {
  const auto* amount = amount_.as<uint32_t>();
  amount_ = DeviceBuffer();
  EXPECT_DEATH(AddAmount(amount, data_.as<uint32_t>(), TestStream()), "use-after-poison");
}

TEST_F(HostBugTest, AKernelWritesPastItsBuffer) {
  EXPECT_DEATH(AddAmount(amount_.as<uint32_t>(), data_.as<uint32_t>() + 1, TestStream()),
               "use-after-poison(.|\n)*thread \\(63, 0, 0\\)");
}

TEST_F(HostBugTest, ACopyGoesPastItsBuffer) {
  std::vector<uint32_t> host(65);
  EXPECT_DEATH(CopyToHost(host.data(), data_.data(), 260, TestStream()), "out of bounds");
  EXPECT_DEATH(CopyToDevice(data_.data(), amount_.data(), 4, TestStream()), "not host memory");
  EXPECT_DEATH(FillBytes(host.data(), 0, 4, TestStream()), "out of bounds|not device memory");
}

TEST_F(HostBugTest, ACaptureAllocatesOrWaits) {
  EXPECT_DEATH(Graph::Capture(TestStream(), [] { (void)DeviceBuffer::Allocate(64); }),
               "allocated while a graph is captured");
  EXPECT_DEATH(Graph::Capture(TestStream(), [] { Synchronize(TestStream()); }),
               "a stream that is being captured");
}

TEST_F(HostBugTest, DevicesAreMixedUp) {
  auto other = Gpu::Open({.index = 1});  // is current now
  ASSERT_TRUE(other.ok());
  const DeviceBuffer theirs = test::ToDevice(std::vector<uint32_t>(64, 0), (*other)->stream());
  EXPECT_DEATH(AddAmount(amount_.as<uint32_t>(), data_.as<uint32_t>(), (*other)->stream()),
               "memory of device 0 in a kernel on device 1");
  Stream& ours = test::TestGpu()->stream();
  (*other)->MakeCurrent();
  EXPECT_DEATH(AddAmount(amount_.as<uint32_t>(), data_.as<uint32_t>(), ours),
               "the stream is of device 0, and on this thread device 1 is current");
  test::TestGpu();
}

TEST_F(HostBugTest, AKernelIsGivenACpuStream) {
  ThreadPool pool(1);
  Stream cpu(&pool);
  EXPECT_DEATH(AddAmount(amount_.as<uint32_t>(), data_.as<uint32_t>(), cpu), "Device::kCuda");
}

}  // namespace
}  // namespace octet
