#include "kernels/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
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

#if defined(__x86_64__)
// The tile unit's state is large, so Linux gives it only to processes that ask (its
// Documentation/arch/x86/xstate.rst); the threads of the process inherit it. All processors that
// have the unit so far have GFNI, which spreads the codes for it.
bool MayUseTiles() {
  static constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  static constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  static const bool may = [] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
    constexpr unsigned kAmxTile = 1u << 24, kAmxInt8 = 1u << 25, kGfni = 1u << 8;
    if ((edx & kAmxTile) == 0 || (edx & kAmxInt8) == 0 || (ecx & kGfni) == 0) return false;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return may;
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
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
  return isa == Isa::kAmx ? avx512 && MayUseTiles() : avx512;
#else
  return false;
#endif
}

bool IsIntel() {
#if defined(__x86_64__)
  return __builtin_cpu_is("intel") != 0;
#else
  return false;
#endif
}

Result<Isa> ChooseIsa(std::string_view wanted) {
  static constexpr struct {
    std::string_view name;
    Isa isa;
  } kNames[] = {{"amx", Isa::kAmx},
                {"avx512", Isa::kAvx512Vnni},
                {"avx2", Isa::kAvx2},
                {"plain", Isa::kPlain}};
  for (const auto& [name, isa] : kNames) {  // best first
    if (wanted.empty() && IsaAvailable(isa)) return isa;
    if (wanted != name) continue;
    if (IsaAvailable(isa)) return isa;
    return FailedPrecondition("OCTET_ISA is '" + std::string(name) +
                              "', which this machine's processor lacks; expected a family it has");
  }
  return InvalidArgument("OCTET_ISA is '" + std::string(wanted) +
                         "'; expected plain, avx2, avx512 or amx");
}

void ForceIsa(Isa isa) {
  OCTET_CHECK(IsaAvailable(isa));
  Active() = isa;
}

std::string_view IsaName(Isa isa) {
  static constexpr std::string_view kNames[] = {"plain", "avx2", "avx512-vnni", "avx512-amx"};
  return kNames[static_cast<int>(isa)];
}

}  // namespace octet::kernels
