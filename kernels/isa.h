// Which CPU instruction family the kernels of this process use: chosen once, the best the machine
// has, unless the environment variable OCTET_ISA (plain | avx512) or a test forces one. Bits are
// promised within one family only; the workers compare it in their handshake.
#pragma once

#include <string_view>

namespace octet::kernels {

enum class Isa { kPlain, kAvx512Vnni };

Isa ActiveIsa();
bool IsaAvailable(Isa isa);
// For tests and benchmarks. REQUIRES: IsaAvailable(isa), and no op is running.
void ForceIsa(Isa isa);
std::string_view IsaName(Isa isa);

}  // namespace octet::kernels
