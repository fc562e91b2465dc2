// A stack of its own to run on, and the switch between two of them. AddressSanitizer is told of
// every switch, so that its reports and use-after-return checks stay right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace octet::emulator {

struct Fiber {
  void* stack_pointer = nullptr;
  std::byte* stack = nullptr;  // lowest address
  void* fake_stack = nullptr;  // AddressSanitizer's
};

inline constexpr int64_t kFiberStackBytes = 128 * 1024;

// Takes a stack from the pool and makes the fiber start in `entry` at the first switch to it.
// `entry` must end with SwitchFiber(..., /*from_ends=*/true).
void PrepareFiber(Fiber& fiber, void (*entry)());
// Gives the stack back. REQUIRES: the fiber has ended, so that no frame is left on it.
void ReleaseFiber(Fiber& fiber);
// Runs `to`; returns when something switches back to `from`.
void SwitchFiber(Fiber& from, Fiber& to, bool from_ends = false);
// First thing in `entry`.
void FiberEntered();

}  // namespace octet::emulator
