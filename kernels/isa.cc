#include "kernels/isa.h"

#include <cstdlib>

#include "base/check.h"

namespace octet::kernels {
namespace {

Isa Choose() {
  const char* wanted = std::getenv("OCTET_ISA");
  if (wanted != nullptr && std::string_view(wanted) == "plain") return Isa::kPlain;
  return IsaAvailable(Isa::kAvx512Vnni) ? Isa::kAvx512Vnni : Isa::kPlain;
}

Isa& Active() {
  static Isa isa = Choose();
  return isa;
}

}  // namespace

Isa ActiveIsa() { return Active(); }

bool IsaAvailable(Isa isa) {
  if (isa == Isa::kPlain) return true;
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

void ForceIsa(Isa isa) {
  OCTET_CHECK(IsaAvailable(isa));
  Active() = isa;
}

std::string_view IsaName(Isa isa) { return isa == Isa::kPlain ? "plain" : "avx512-vnni"; }

}  // namespace octet::kernels
