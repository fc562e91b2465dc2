#include "kernels/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdio>
#include <cstdlib>

#include "base/check.h"

namespace octet::kernels {
namespace {

// No Result here: the first use is inside an op, and no caller can do anything about it.
Isa ChosenByEnvironment() {
  const char* wanted = std::getenv("OCTET_ISA");
  const Result<Isa> isa = ChooseIsa(wanted == nullptr ? "" : wanted);
  if (isa.ok()) return *isa;
  std::fprintf(stderr, "%s\n", isa.status().message().c_str());
  std::_Exit(2);
}

#if defined(__x86_64__)
// A name that __builtin_cpu_supports of clang 14 does not know.
bool HasF16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

Isa& Active() {
  static Isa isa = ChosenByEnvironment();
  return isa;
}

}  // namespace

Isa ActiveIsa() { return Active(); }

bool IsaAvailable(Isa isa) {
  if (isa == Isa::kPlain) return true;
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16c();
  if (isa == Isa::kAvx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

Result<Isa> ChooseIsa(std::string_view wanted) {
  static constexpr struct {
    std::string_view name;
    Isa isa;
  } kNames[] = {{"avx512", Isa::kAvx512Vnni}, {"avx2", Isa::kAvx2}, {"plain", Isa::kPlain}};
  for (const auto& [name, isa] : kNames) {  // best first
    if (wanted.empty() && IsaAvailable(isa)) return isa;
    if (wanted != name) continue;
    if (IsaAvailable(isa)) return isa;
    return FailedPrecondition("OCTET_ISA is '" + std::string(name) +
                              "', which this machine's processor lacks; expected a family it has");
  }
  return InvalidArgument("OCTET_ISA is '" + std::string(wanted) +
                         "'; expected plain, avx2 or avx512");
}

void ForceIsa(Isa isa) {
  OCTET_CHECK(IsaAvailable(isa));
  Active() = isa;
}

std::string_view IsaName(Isa isa) {
  static constexpr std::string_view kNames[] = {"plain", "avx2", "avx512-vnni"};
  return kNames[static_cast<int>(isa)];
}

}  // namespace octet::kernels
