#include "tests/support/emulator/fiber.h"

#include <pthread.h>
#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>

#include <cstring>

#include "base/check.h"

extern "C" void octet_emulator_switch(void** from_stack_pointer, void* to_stack_pointer);

// Saves what a callee must keep, changes the stack, takes back what was kept there.
#if defined(__x86_64__)
asm(R"(
.text
.globl octet_emulator_switch
.type octet_emulator_switch, @function
octet_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size octet_emulator_switch, .-octet_emulator_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl octet_emulator_switch
.type octet_emulator_switch, %function
octet_emulator_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size octet_emulator_switch, .-octet_emulator_switch
)");
#else
#error "the emulator knows how to switch stacks on x86-64 and aarch64 only"
#endif

namespace octet::emulator {
namespace {

constexpr int64_t kGuardBytes = 4096;
constexpr int64_t kStaggerBytes = 64;  // stacks of one size would share the sets of the L1 cache

struct Bounds {
  const void* stack = nullptr;
  size_t bytes = 0;
};
std::vector<std::byte*>& Pool() {
  static auto* pool = new std::vector<std::byte*>;  // never destroyed: LeakSanitizer runs last
  return *pool;
}
int64_t stacks_made = 0;

std::byte* TakeStack() {
  if (!Pool().empty()) {
    std::byte* stack = Pool().back();
    Pool().pop_back();
    return stack;
  }
  void* memory = mmap(nullptr, kFiberStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  OCTET_CHECK(memory != MAP_FAILED);
  OCTET_CHECK_EQ(mprotect(memory, kGuardBytes, PROT_NONE), 0);
  ++stacks_made;
  return static_cast<std::byte*>(memory) + kGuardBytes;
}

Bounds OwnStack() {
  pthread_attr_t attributes;
  void* stack = nullptr;
  size_t bytes = 0;
  OCTET_CHECK_EQ(pthread_getattr_np(pthread_self(), &attributes), 0);
  pthread_attr_getstack(&attributes, &stack, &bytes);
  pthread_attr_destroy(&attributes);
  return {stack, bytes};
}

Bounds BoundsOf(const Fiber& fiber) {
  if (fiber.stack != nullptr) return {fiber.stack, kFiberStackBytes};
  static thread_local const Bounds own = OwnStack();  // the fiber that an OS thread started with
  return own;
}

}  // namespace

void PrepareFiber(Fiber& fiber, void (*entry)()) {
  fiber.stack = TakeStack();
  fiber.fake_stack = nullptr;
  const int64_t stagger = (stacks_made * 7 % 32) * kStaggerBytes;
  auto** top = reinterpret_cast<void**>(fiber.stack + kFiberStackBytes - stagger);
#if defined(__x86_64__)
  // [r15 r14 r13 r12 rbx rbp] entry 0: entry finds the stack as after a call.
  top -= 2;
  top[0] = reinterpret_cast<void*>(entry);
  top[1] = nullptr;
  top -= 6;
  std::memset(top, 0, 6 * sizeof(void*));
#else
  top -= 20;
  std::memset(top, 0, 20 * sizeof(void*));
  top[11] = reinterpret_cast<void*>(entry);  // x30
#endif
  fiber.stack_pointer = top;
}

void ReleaseFiber(Fiber& fiber) {
  if (fiber.stack == nullptr) return;
  Pool().push_back(fiber.stack);
  fiber.stack = nullptr;
}

void SwitchFiber(Fiber& from, Fiber& to, bool from_ends) {
  const Bounds bounds = BoundsOf(to);
  __sanitizer_start_switch_fiber(from_ends ? nullptr : &from.fake_stack, bounds.stack,
                                 bounds.bytes);
  octet_emulator_switch(&from.stack_pointer, to.stack_pointer);
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
}

void FiberEntered() { __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr); }

}  // namespace octet::emulator
