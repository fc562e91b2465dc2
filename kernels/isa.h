// Which CPU instruction family the kernels of this process use: chosen once, at the first use. The
// best that the machine has, unless the environment variable OCTET_ISA (plain | avx2 | avx512 |
// amx) or a test forces one. Bits are promised within one family only; the workers compare it in
// their handshake.
#pragma once

#include <string_view>

#include "base/status.h"

namespace octet::kernels {

// Ascending preference. kAmx is kAvx512Vnni with the same bits, whose linears of int8 activations
// and attention over int8 caches use the tile unit where that is faster.
enum class Isa { kPlain, kAvx2, kAvx512Vnni, kAmx };
inline constexpr Isa kIsas[] = {Isa::kPlain, Isa::kAvx2, Isa::kAvx512Vnni, Isa::kAmx};

// Ends the process with one sentence and status 2 if OCTET_ISA names a family that is unknown or
// that this machine lacks.
Isa ActiveIsa();
bool IsaAvailable(Isa isa);
// What OCTET_ISA means: the family named, or the best one if `wanted` is empty.
Result<Isa> ChooseIsa(std::string_view wanted);
// For tests and benchmarks. REQUIRES: IsaAvailable(isa), and no op is running.
void ForceIsa(Isa isa);
std::string_view IsaName(Isa isa);

// Whether the processor is Intel's, whose own prefetchers leave a part of the memory's bandwidth
// unused that software can ask for; AMD's do not (linear/README.md).
bool IsIntel();

// Of what an op has from each family, that of the active one.
template <typename T>
const T& OfActiveIsa(const T& plain, const T& avx2, const T& avx512) {
  const Isa isa = ActiveIsa();
  return isa >= Isa::kAvx512Vnni ? avx512 : isa == Isa::kAvx2 ? avx2 : plain;
}

}  // namespace octet::kernels
