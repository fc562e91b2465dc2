#include "tests/integration/bad_files/counted_memory.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace octet::testing {

void CountMapping(int64_t bytes);

namespace {

std::atomic<int64_t> held = 0;
std::atomic<int64_t> held_at_start = 0;
std::atomic<int64_t> peak = 0;
std::atomic<int64_t> largest = 0;

void RaiseTo(std::atomic<int64_t>& value, int64_t to) {
  int64_t seen = value.load();
  while (seen < to && !value.compare_exchange_weak(seen, to)) {
  }
}

// Null where there is no memory.
void* TryTake(std::size_t bytes, std::size_t alignment) noexcept {
  void* memory = alignment == 0 ? std::malloc(bytes)
                                : std::aligned_alloc(
                                      alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory == nullptr) return nullptr;
  const auto usable = static_cast<int64_t>(malloc_usable_size(memory));
  RaiseTo(largest, static_cast<int64_t>(bytes));
  RaiseTo(peak, held.fetch_add(usable) + usable);
  return memory;
}

void* Take(std::size_t bytes, std::size_t alignment) {
  void* memory = TryTake(bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void Release(void* memory) {
  held.fetch_sub(static_cast<int64_t>(malloc_usable_size(memory)));
  std::free(memory);
}

}  // namespace

void CountMapping(int64_t bytes) {
  RaiseTo(largest, bytes);
  RaiseTo(peak, held.load() + bytes);
}

CountedMemory::CountedMemory() {
  held_at_start = held.load();
  peak = held.load();
  largest = 0;
}
int64_t CountedMemory::largest_bytes() const { return largest; }
int64_t CountedMemory::peak_bytes() const { return peak - held_at_start; }

}  // namespace octet::testing

void* operator new(std::size_t bytes) { return octet::testing::Take(bytes, 0); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return octet::testing::Take(bytes, static_cast<std::size_t>(alignment));
}
// Ours too, or a sanitizer's would hand out what our delete releases.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return octet::testing::TryTake(bytes, 0);
}
void operator delete(void* memory) noexcept { octet::testing::Release(memory); }
void operator delete(void* memory, std::size_t) noexcept { octet::testing::Release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { octet::testing::Release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  octet::testing::Release(memory);
}

// Arenas are mapped, not allocated.
extern "C" void* mmap(void* address, size_t bytes, int protection, int flags, int fd,
                      off_t offset) noexcept {
  if ((flags & MAP_ANONYMOUS) != 0) octet::testing::CountMapping(static_cast<int64_t>(bytes));
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, bytes, protection, flags, fd, offset));
}
