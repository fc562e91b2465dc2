// The host's implementation of base/device/primitives.cuh. See the device's files of the same parts
// for shapes and meaning; each function here takes one argument more, the place of the call.
#pragma once

#include <tuple>
#include <utility>

#include "base/device/stream.h"
#include "base/dtype.h"
#include "tests/support/emulator/cuda_names.h"
#include "tests/support/emulator/hw_arithmetic.h"
#include "tests/support/emulator/hw_async.h"
#include "tests/support/emulator/hw_matrix.h"
#include "tests/support/emulator/runtime.h"

#define OCTET_SHARED(type, name)                                                            \
  static const char octet_shared_tag_##name = 0;                                            \
  auto& name = *static_cast<::std::type_identity_t<type>*>(::octet::emulator::StaticShared( \
      &octet_shared_tag_##name, sizeof(::std::type_identity_t<type>),                       \
      ::std::max<int64_t>(16, alignof(::std::type_identity_t<type>)),                       \
      ::octet::emulator::Place::current()))

namespace octet::hw {

template <typename... Parameters, typename... Args>
void LaunchWith(emulator::LaunchKind kind, const char* file, int line,
                void (*kernel)(Parameters...), dim3 grid, dim3 block, int64_t shared_bytes,
                Stream& stream, Args&&... args) {
  static_assert(sizeof...(Parameters) == sizeof...(Args), "one argument for each parameter");
  using Call = std::pair<void (*)(Parameters...), std::tuple<Parameters...>>;
  auto arguments = std::make_shared<const Call>(
      kernel, std::tuple<Parameters...>(static_cast<Parameters>(args)...));
  emulator::KernelCall call{file, line,
                            [](const void* data) {
                              const auto& [function, values] = *static_cast<const Call*>(data);
                              std::apply(function, values);
                            },
                            std::move(arguments), sizeof(Call)};
  emulator::Enqueue(call, grid, block, kind, shared_bytes, stream);
}

template <typename... Args>
void Launch(const char* file, int line, Args&&... args) {
  LaunchWith(emulator::LaunchKind::kPlain, file, line, std::forward<Args>(args)...);
}
template <typename... Args>
void LaunchEarly(const char* file, int line, Args&&... args) {
  LaunchWith(emulator::LaunchKind::kEarly, file, line, std::forward<Args>(args)...);
}
template <typename... Args>
void LaunchClusters(const char* file, int line, Args&&... args) {
  LaunchWith(emulator::LaunchKind::kEarlyClusters, file, line, std::forward<Args>(args)...);
}
inline void wait_for_past(emulator::Place place = emulator::Place::current()) {
  emulator::WaitForPast(place);
}
inline void let_next_begin() {}

class Smem {
 public:
  template <typename T>
  T* take(int64_t count, int64_t alignment = 16,
          emulator::Place place = emulator::Place::current()) {
    return static_cast<T*>(emulator::DynamicShared(
        parts_++, count * static_cast<int64_t>(sizeof(T)), alignment, place));
  }

 private:
  int parts_ = 0;
};

}  // namespace octet::hw
