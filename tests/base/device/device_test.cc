// Buffers, copies, events and graphs: the same on the emulator and on a GPU.
#include "base/device/device.h"

#include <cstring>
#include <vector>

#include "tests/base/device/conformance.h"
#include "tests/support/test_device.h"

namespace octet {
namespace {

using conformance::AddAmount;

class DeviceTest : public testing::Test {
 protected:
  void SetUp() override { OCTET_REQUIRE_GPU(); }
  Gpu& gpu() { return *test::TestGpu(); }
  Stream& stream() { return gpu().stream(); }
  std::vector<uint32_t> Words(const DeviceBuffer& buffer) {
    return test::ToHost<uint32_t>(buffer, stream());
  }
};

TEST_F(DeviceTest, InfoIsThatOfADeviceThatMayBeUsed) {
  const DeviceInfo& info = gpu().info();
  EXPECT_GE(info.capability(), kCapabilityMin);
  EXPECT_GT(info.sm_count, 0);
  EXPECT_GT(info.free_bytes, 0);
  EXPECT_LE(info.free_bytes, info.total_bytes);
  EXPECT_GE(info.shared_bytes_per_block, 96 * 1024);
  EXPECT_EQ(info.uuid.size(), 32u);
  EXPECT_EQ(&stream().info(), &info);
  EXPECT_GE(*Gpu::Count(), 1);
  EXPECT_EQ(Gpu::Open({.index = 1000}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Gpu::Open({.index = 0, .needed_bytes = int64_t{1} << 60}).status().code(),
            StatusCode::kResourceExhausted);
}

TEST_F(DeviceTest, BuffersAreAlignedFilledAndCounted) {
  const int64_t before = gpu().free_bytes();
  {
    const Result<DeviceBuffer> buffer = DeviceBuffer::Allocate(int64_t{8} << 20);
    ASSERT_TRUE(buffer.ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 256, 0u);
    EXPECT_LE(gpu().free_bytes(), before - (int64_t{8} << 20));
    EXPECT_EQ(Words(*buffer)[12345], 0xFFFFFFFFu);
  }
  EXPECT_EQ(gpu().free_bytes(), before);
  EXPECT_EQ(DeviceBuffer::Allocate(0)->data(), nullptr);
  const Result<DeviceBuffer> too_much = DeviceBuffer::Allocate(int64_t{1} << 46);
  EXPECT_EQ(too_much.status().code(), StatusCode::kResourceExhausted);
  EXPECT_NE(too_much.status().message().find("70368744177664 bytes were asked for"),
            std::string::npos)
      << too_much.status().message();
  const Result<HostBuffer> host = HostBuffer::Allocate(4096);
  ASSERT_TRUE(host.ok());
  EXPECT_EQ(host->as<uint32_t>()[1000], 0u);
}

TEST_F(DeviceTest, WorkOfAQueueIsInOrder) {
  const DeviceBuffer a = test::ToDevice(std::vector<uint32_t>(64, 5), stream());
  const DeviceBuffer b = test::ToDevice(std::vector<uint32_t>(64, 7), stream());
  const DeviceBuffer amount = test::ToDevice(std::vector<uint32_t>{3}, stream());
  AddAmount(amount.as<uint32_t>(), a.as<uint32_t>(), stream());
  CopyOnDevice(b.data(), a.data(), 128, stream());
  FillBytes(a.data(), 0, a.bytes(), stream());
  std::vector<uint32_t> expected(64, 7);
  std::fill(expected.begin(), expected.begin() + 32, 8);
  EXPECT_EQ(Words(b), expected);
  EXPECT_EQ(Words(a), std::vector<uint32_t>(64, 0));
}

TEST_F(DeviceTest, ALaterQueueWaitsForAnEvent) {
  Stream second = gpu().NewStream();
  const DeviceBuffer data = test::ToDevice(std::vector<uint32_t>(64, 0), stream());
  const DeviceBuffer amount = test::ToDevice(std::vector<uint32_t>{1}, stream());
  Event never_recorded, first, last;
  never_recorded.Wait(second);
  EXPECT_TRUE(never_recorded.Done());
  for (int i = 0; i < 50; ++i) AddAmount(amount.as<uint32_t>(), data.as<uint32_t>(), stream());
  first.Record(stream());
  first.Wait(second);
  AddAmount(amount.as<uint32_t>(), data.as<uint32_t>(), second);
  last.Record(second);
  last.Synchronize();
  EXPECT_TRUE(first.Done());
  EXPECT_TRUE(last.Done());
  EXPECT_GE(Event::MillisecondsBetween(first, last), 0);
  EXPECT_EQ(Words(data), std::vector<uint32_t>(64, 51));
}

TEST_F(DeviceTest, TheHostIsCalledWhenTheQueueComesToIt) {
  Result<HostBuffer> seen = HostBuffer::Allocate(64 * sizeof(uint32_t));
  ASSERT_TRUE(seen.ok());
  const DeviceBuffer data = test::ToDevice(std::vector<uint32_t>(64, 9), stream());
  CopyToHost(seen->data(), data.data(), data.bytes(), stream());
  CallOnHost([](void* words) { static_cast<uint32_t*>(words)[0] *= 2; }, seen->data(), stream());
  CopyToDevice(data.data(), seen->data(), data.bytes(), stream());
  EXPECT_EQ(Words(data)[0], 18u);
  EXPECT_EQ(Words(data)[1], 9u);
}

TEST_F(DeviceTest, AGraphRunsWhenItIsLaunchedOnDataOfThatMoment) {
  const DeviceBuffer data = test::ToDevice(std::vector<uint32_t>(64, 0), stream());
  const DeviceBuffer amount = test::ToDevice(std::vector<uint32_t>{1}, stream());
  Graph graph;
  EXPECT_TRUE(graph.empty());
  graph = Graph::Capture(stream(), [&] {
    AddAmount(amount.as<uint32_t>(), data.as<uint32_t>(), stream());
    AddAmount(amount.as<uint32_t>(), data.as<uint32_t>(), stream());
  });
  EXPECT_EQ(Words(data), std::vector<uint32_t>(64, 0));
  graph.Launch(stream());
  EXPECT_EQ(Words(data), std::vector<uint32_t>(64, 2));
  const uint32_t ten = 10;
  CopyToDevice(amount.data(), &ten, sizeof(ten), stream());
  graph.Launch(stream());
  graph.Launch(stream());
  EXPECT_EQ(Words(data), std::vector<uint32_t>(64, 42));
  // Another recording of the same shape, then one of another.
  const DeviceBuffer other = test::ToDevice(std::vector<uint32_t>(64, 100), stream());
  graph.Update(stream(), [&] {
    AddAmount(amount.as<uint32_t>(), other.as<uint32_t>(), stream());
    AddAmount(amount.as<uint32_t>(), other.as<uint32_t>(), stream());
  });
  graph.Launch(stream());
  EXPECT_EQ(Words(other), std::vector<uint32_t>(64, 120));
  graph.Update(stream(), [&] { FillBytes(other.data(), 0, other.bytes(), stream()); });
  graph.Launch(stream());
  EXPECT_EQ(Words(other), std::vector<uint32_t>(64, 0));
  EXPECT_EQ(Words(data), std::vector<uint32_t>(64, 42));
}

TEST_F(DeviceTest, AGraphMayForkToAnotherQueue) {
  Stream second = gpu().NewStream();
  const DeviceBuffer a = test::ToDevice(std::vector<uint32_t>(64, 0), stream());
  const DeviceBuffer b = test::ToDevice(std::vector<uint32_t>(64, 0), stream());
  const DeviceBuffer amount = test::ToDevice(std::vector<uint32_t>{4}, stream());
  Event fork, join;
  Graph graph = Graph::Capture(stream(), [&] {
    fork.Record(stream());
    fork.Wait(second);
    AddAmount(amount.as<uint32_t>(), b.as<uint32_t>(), second);
    join.Record(second);
    AddAmount(amount.as<uint32_t>(), a.as<uint32_t>(), stream());
    join.Wait(stream());
    CopyOnDevice(a.data(), b.data(), 128, stream());
  });
  EXPECT_EQ(Words(b), std::vector<uint32_t>(64, 0));
  graph.Launch(stream());
  graph.Launch(stream());
  std::vector<uint32_t> expected(64, 8);
  EXPECT_EQ(Words(a), expected);
  EXPECT_EQ(Words(b), expected);
}

TEST(DeviceOnCpuTest, ACpuStreamCopiesAtOnce) {
  ThreadPool pool(1);
  Stream stream(&pool);
  std::vector<uint32_t> a(8, 3), b(8, 0);
  CopyToDevice(b.data(), a.data(), 16, stream);
  FillBytes(a.data(), 0, 4, stream);
  Synchronize(stream);
  EXPECT_EQ(b, (std::vector<uint32_t>{3, 3, 3, 3, 0, 0, 0, 0}));
  EXPECT_EQ(a[0], 0u);
  Event event;
  event.Record(stream);
  EXPECT_TRUE(event.Done());
}

}  // namespace
}  // namespace octet
