// Planned memory: what is taken equals the plan, and a plan that is too small says which.
#include "base/buffer.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

namespace octet {
namespace {

TEST(Buffer, IsZeroedAlignedAndMoves) {
  Buffer buffer(1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kBufferAlignment, 0u);
  for (int64_t i = 0; i < 1000; ++i) ASSERT_EQ(buffer.data()[i], std::byte{0});
  std::byte* data = buffer.data();
  Buffer moved(std::move(buffer));
  EXPECT_EQ(moved.data(), data);
  EXPECT_EQ(moved.bytes(), 1000);
  Buffer assigned;
  assigned = std::move(moved);
  EXPECT_EQ(assigned.data(), data);
  EXPECT_EQ(Buffer(0).data(), nullptr);
}

TEST(BufferDeathTest, ASealedOneCanNotBeWritten) {
  Buffer buffer(1000);
  buffer.data()[1] = std::byte{7};
  buffer.Seal();
  EXPECT_EQ(buffer.data()[1], std::byte{7});
  EXPECT_DEATH(buffer.data()[1] = std::byte{8}, "");
}

TEST(Buffer, TakesOverAMapping) {
  void* mapped = mmap(nullptr, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  {
    Arena arena("mapped", Buffer::OfMapping(static_cast<std::byte*>(mapped), 8192));
    EXPECT_EQ(arena.TakeBytes(8192), mapped);
    EXPECT_EQ(arena.planned_bytes(), 8192);
  }
  EXPECT_EQ(msync(mapped, 8192, MS_ASYNC), -1);  // gone with its buffer
}

TEST(Arena, TakesAlignedPartsOfThePlan) {
  Arena arena("test", 192);
  float* first = arena.Take<float>(1);
  float* second = arena.Take<float>(17);
  EXPECT_EQ(reinterpret_cast<std::byte*>(second) - reinterpret_cast<std::byte*>(first), 64);
  EXPECT_EQ(arena.taken_bytes(), 192);
  EXPECT_EQ(arena.planned_bytes(), 192);
}

TEST(ArenaDeathTest, NamesThePlanThatOverflows) {
  Arena arena("kv blocks", 64);
  arena.TakeBytes(64);
  EXPECT_DEATH(arena.TakeBytes(1), "arena 'kv blocks' overflows its plan");
}

}  // namespace
}  // namespace octet
