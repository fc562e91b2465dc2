// The loops that the roofline is measured with, one pair per instruction family.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet::kernels {

// Reads `bytes` (a multiple of 64, aligned to 64) and returns something that depends on all of it.
// Asks for what lies `ahead` bytes further, in the memory or behind it; 0: leaves that to the
// processor, as the portable loop does.
using ReadProbe = uint64_t (*)(const std::byte* from, int64_t bytes, int64_t ahead);
// Runs `steps` steps from registers and returns the int8 operations done.
using PeakProbe = int64_t (*)(int64_t steps);

uint64_t ReadPlain(const std::byte* from, int64_t bytes, int64_t ahead);
int64_t PeakPlain(int64_t steps);
#if defined(__x86_64__)
uint64_t ReadAvx2(const std::byte* from, int64_t bytes, int64_t ahead);
int64_t PeakAvx2(int64_t steps);
uint64_t ReadAvx512(const std::byte* from, int64_t bytes, int64_t ahead);
int64_t PeakAvx512(int64_t steps);
#endif

}  // namespace octet::kernels
