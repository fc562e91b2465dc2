// What a thread may touch. Every load and store of a kernel comes through here: the compiler calls
// __asan_load and __asan_store for each, and the ones below take precedence over the library's.
#include <sanitizer/asan_interface.h>

#include <cstring>

#include "tests/support/emulator/device_memory.h"
#include "tests/support/emulator/scheduler.h"

extern "C" char __executable_start, end;  // the linker's bounds of the program

namespace octet::emulator {
namespace {

bool Within(const void* address, int64_t bytes, const void* begin, int64_t size) {
  const auto* a = static_cast<const std::byte*>(address);
  const auto* b = static_cast<const std::byte*>(begin);
  return a >= b && a + bytes <= b + size;
}

std::string Number(int64_t value) { return std::to_string(value); }

// Bytes of memory that a kernel may read but does not share: its stack, constants, its parameters.
bool IsPrivate(const Thread& thread, const void* address, int64_t bytes) {
  if (Within(address, bytes, thread.fiber.stack, kFiberStackBytes)) return true;
  if (Within(address, bytes, &__executable_start, &end - &__executable_start)) return true;
  const KernelCall& kernel = current_scheduler->kernel();
  if (Within(address, bytes, kernel.arguments.get(), kernel.argument_bytes)) return true;
  // A frame that AddressSanitizer keeps aside to find uses after return.
  void* fake_stack = __asan_get_current_fake_stack();
  return fake_stack != nullptr &&
         __asan_addr_is_in_fake_stack(fake_stack, const_cast<void*>(address), nullptr, nullptr) !=
             nullptr;
}

void Report(const std::string& problem, const Place& place) {
  if (!problem.empty()) Fail(problem, place);
}

// An empty string, or what is wrong with touching device memory now.
std::string TouchDevice(const Thread& thread, const void* address, int64_t bytes, bool writes) {
  if (!thread.knows_past) {
    if (writes) return "an early launch writes before wait_for_past";
    const Chain::Launch writer = current_scheduler->past().WriterOf(address, bytes);
    if (writer.id != 0)
      return std::string(
                 "an early launch reads before wait_for_past what the kernel launched at ") +
             writer.file + ":" + Number(writer.line) + " wrote";
  }
  if (writes) RecordWrite(address, bytes, current_scheduler->id());
  return {};
}

// A place that stands for an address of code.
struct CodeAccess {
  const void* address;
  int64_t bytes;
  bool writes;
  const void* code;
};

[[noreturn]] __attribute__((noinline)) void FailAt(const std::string& what, const void* code) {
  Fail(what + "\n  at " + Describe(IdOf(code)), Place::current());
}

void CheckAccess(const CodeAccess& access) {
  Thread& thread = *current_thread;
  Arena& arena = *thread.block->arena;
  if (Within(access.address, access.bytes, arena.data, Arena::kBytes)) {
    const auto offset =
        static_cast<uint32_t>(static_cast<const std::byte*>(access.address) - arena.data);
    const std::string problem = arena.words.Check(
        offset, access.bytes,
        {thread.index, access.writes ? AccessKind::kWrite : AccessKind::kRead, IdOf(access.code)},
        thread.clock, current_scheduler->now());
    if (!problem.empty()) FailAt(problem, access.code);
    return;
  }
  const int device = DeviceOf(access.address);
  if (device == current_scheduler->shape().device) {
    const std::string problem = TouchDevice(thread, access.address, access.bytes, access.writes);
    if (!problem.empty()) FailAt(problem, access.code);
    return;
  }
  if (device < 0 && IsPrivate(thread, access.address, access.bytes)) return;
  const char* verb = access.writes ? "a store to" : "a load from";
  if (device < 0)
    FailAt(std::string(verb) + " host memory, which no device could reach", access.code);
  FailAt(std::string(verb) + " memory of device " + Number(device) + " in a kernel on device " +
             Number(current_scheduler->shape().device),
         access.code);
}

}  // namespace

void WaitForPast(const Place& place) { Self(place).knows_past = true; }

namespace {

SharedPart TakePart(Block& block, int64_t bytes, int64_t alignment, const Place& place) {
  if (bytes <= 0 || alignment <= 0 || (alignment & (alignment - 1)) != 0 || alignment > 1024)
    Fail("shared memory: a part of " + Number(bytes) + " bytes, aligned to " + Number(alignment),
         place);
  const int64_t begin = (block.arena_used + alignment - 1) / alignment * alignment;
  if (begin + bytes > Arena::kBytes)
    Fail("shared memory: the parts take more than " + Number(kSharedBytesMax) + " bytes", place);
  std::byte* data = block.arena->data + begin;
  __asan_unpoison_memory_region(data, static_cast<size_t>(bytes));
  std::memset(data, 0xFF, static_cast<size_t>(bytes));
  const int64_t spare = Arena::kBytes - begin - bytes;
  const int64_t gap = std::min<int64_t>(block.red_zone, spare / 2);
  block.arena_used = static_cast<uint32_t>((begin + bytes + gap + 15) / 16 * 16);
  return {static_cast<uint32_t>(begin), bytes, alignment};
}

}  // namespace

void* StaticShared(const void* tag, int64_t bytes, int64_t alignment, const Place& place) {
  Block& block = *Self(place).block;
  const auto found = block.statics.find(tag);
  if (found != block.statics.end()) return block.arena->data + found->second.offset;
  block.static_used = (block.static_used + alignment - 1) / alignment * alignment + bytes;
  const LaunchShape& shape = current_scheduler->shape();
  if (block.static_used > kStaticSharedBytesMax ||
      block.static_used + shape.shared_bytes > shape.shared_bytes_max)
    Fail("OCTET_SHARED: " + Number(block.static_used) + " bytes beside " +
             Number(shape.shared_bytes) + " dynamic ones; a block may have " +
             Number(shape.shared_bytes_max) + ", of them " + Number(kStaticSharedBytesMax) +
             " static",
         place);
  const SharedPart part = TakePart(block, bytes, alignment, place);
  block.statics.emplace(tag, part);
  return block.arena->data + part.offset;
}

void* DynamicShared(int index, int64_t bytes, int64_t alignment, const Place& place) {
  Block& block = *Self(place).block;
  if (index < static_cast<int>(block.dynamics.size())) {
    const SharedPart& part = block.dynamics[index];
    if (part.bytes != bytes || part.alignment != alignment)
      Fail("Smem: part " + Number(index) + " has " + Number(bytes) + " bytes here and " +
               Number(part.bytes) + " for another thread",
           place);
    return block.arena->data + part.offset;
  }
  block.dynamic_used = (block.dynamic_used + alignment - 1) / alignment * alignment + bytes;
  if (block.dynamic_used > current_scheduler->shape().shared_bytes)
    Fail("Smem: the parts take " + Number(block.dynamic_used) + " bytes, the launch gave " +
             Number(current_scheduler->shape().shared_bytes),
         place);
  block.dynamics.push_back(TakePart(block, bytes, alignment, place));
  return block.arena->data + block.dynamics.back().offset;
}

void CheckGlobalBytes(const void* address, int64_t bytes, AccessKind kind, const char* what,
                      const Place& place) {
  Thread& thread = Self(place);
  if (Within(address, 1, thread.block->arena->data, Arena::kBytes))
    Fail(std::string(what) + ": the address is in shared memory, not global", place);
  if (DeviceOf(address) != current_scheduler->shape().device)
    Fail(std::string(what) + ": the address is not memory of the kernel's device", place);
  void* bad = __asan_region_is_poisoned(const_cast<void*>(address), static_cast<size_t>(bytes));
  if (bad != nullptr)
    Fail(std::string(what) + ": out of bounds of a device buffer, or freed: byte " +
             Number(static_cast<std::byte*>(bad) - static_cast<const std::byte*>(address)) +
             " of " + Number(bytes),
         place);
  Report(TouchDevice(thread, address, bytes, kind != AccessKind::kRead), place);
}

void CheckGlobal(const void* address, int64_t bytes, AccessKind kind, const char* what,
                 const Place& place) {
  CheckGlobalBytes(address, bytes, kind, what, place);
  if (reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(std::min<int64_t>(bytes, 16)) !=
      0)
    Fail(std::string(what) + ": the global address is not aligned", place);
}

uint32_t CheckShared(const void* address, int64_t bytes, int64_t alignment, const char* what,
                     const Place& place) {
  Block& block = *Self(place).block;
  if (!Within(address, bytes, block.arena->data, Arena::kBytes))
    Fail(std::string(what) + ": the address is not in the block's shared memory", place);
  if (__asan_region_is_poisoned(const_cast<void*>(address), static_cast<size_t>(bytes)) != nullptr)
    Fail(std::string(what) + ": out of bounds of a part of shared memory", place);
  const auto offset =
      static_cast<uint32_t>(static_cast<const std::byte*>(address) - block.arena->data);
  if (offset % alignment != 0)
    Fail(std::string(what) + ": the shared address is not aligned to " + Number(alignment), place);
  return offset;
}

void TouchShared(uint32_t offset, int64_t bytes, AccessKind kind, const Place& place) {
  TouchSharedAs(*current_thread, offset, bytes, kind, place);
}

void TouchSharedAs(const Thread& thread, uint32_t offset, int64_t bytes, AccessKind kind,
                   const Place& place) {
  Report(thread.block->arena->words.Check(offset, bytes, {thread.index, kind, IdOf(place)},
                                          thread.clock, current_scheduler->now()),
         place);
}

void BeginAtomic(const void* address, int bytes, const Place& place) {
  Thread& thread = Self(place);
  current_scheduler->MaybeGiveWay();
  if (Within(address, bytes, thread.block->arena->data, Arena::kBytes)) {
    TouchShared(CheckShared(address, bytes, bytes, "an atomic", place), bytes, AccessKind::kAtomic,
                place);
  } else {
    CheckGlobal(address, bytes, AccessKind::kAtomic, "an atomic", place);
  }
  current_scheduler->Progress();
}

}  // namespace octet::emulator

// One shadow byte tells of 8 bytes: 0 all good, 1..7 the first of them, else none.
#if defined(__x86_64__)
constexpr uintptr_t kShadowOffset = 0x7fff8000;
#elif defined(__aarch64__)
constexpr uintptr_t kShadowOffset = uintptr_t{1} << 36;
#endif

#define OCTET_ACCESS(kind, writes, bytes)                                                          \
  extern "C" void __asan_report_##kind##bytes(void* address);                                      \
  extern "C" void __asan_##kind##bytes(void* address) {                                            \
    const auto at = reinterpret_cast<uintptr_t>(address);                                          \
    const auto shadow = *reinterpret_cast<const int8_t*>((at >> 3) + kShadowOffset);               \
    const bool partial = shadow != 0 && (bytes >= 8 || static_cast<int>(at & 7) + bytes > shadow); \
    const bool second =                                                                            \
        bytes == 16 && *reinterpret_cast<const int8_t*>(((at + 8) >> 3) + kShadowOffset) != 0;     \
    if (__builtin_expect(partial || second, 0)) __asan_report_##kind##bytes(address);              \
    if (octet::emulator::current_thread != nullptr)                                                \
      octet::emulator::CheckAccess({address, bytes, writes, __builtin_return_address(0)});         \
  }
OCTET_ACCESS(load, false, 1)
OCTET_ACCESS(load, false, 2)
OCTET_ACCESS(load, false, 4)
OCTET_ACCESS(load, false, 8)
OCTET_ACCESS(load, false, 16)
OCTET_ACCESS(store, true, 1)
OCTET_ACCESS(store, true, 2)
OCTET_ACCESS(store, true, 4)
OCTET_ACCESS(store, true, 8)
OCTET_ACCESS(store, true, 16)

#define OCTET_ACCESS_N(kind, writes)                                                    \
  extern "C" void __asan_report_##kind##_n(void* address, size_t bytes);                \
  extern "C" void __asan_##kind##N(void* address, size_t bytes) {                       \
    if (__asan_region_is_poisoned(address, bytes) != nullptr)                           \
      __asan_report_##kind##_n(address, bytes);                                         \
    if (octet::emulator::current_thread != nullptr)                                     \
      octet::emulator::CheckAccess(                                                     \
          {address, static_cast<int64_t>(bytes), writes, __builtin_return_address(0)}); \
  }
OCTET_ACCESS_N(load, false)
OCTET_ACCESS_N(store, true)
