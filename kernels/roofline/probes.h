// The loops that the roofline is measured with, one pair per instruction family.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet::kernels {

// How a loop reads: front to back, or both halves front to back in turns; and how many bytes ahead
// it asks for memory, in what it reads or behind it (0: that is left to the processor).
struct ReadOrder {
  int64_t streams;  // 1 or 2
  int64_t ahead;
};
// Reads `bytes` (a multiple of 1024, aligned to 64) and returns something that depends on all of
// it. The portable loop has one order.
using ReadProbe = uint64_t (*)(const std::byte* from, int64_t bytes, ReadOrder order);
// Runs `steps` steps from registers and returns the int8 operations done.
using PeakProbe = int64_t (*)(int64_t steps);

uint64_t ReadPlain(const std::byte* from, int64_t bytes, ReadOrder order);
int64_t PeakPlain(int64_t steps);
#if defined(__x86_64__)
uint64_t ReadAvx2(const std::byte* from, int64_t bytes, ReadOrder order);
int64_t PeakAvx2(int64_t steps);
uint64_t ReadAvx512(const std::byte* from, int64_t bytes, ReadOrder order);
int64_t PeakAvx512(int64_t steps);
#endif

}  // namespace octet::kernels
