// The fault that a test asked for at compile time, to see itself fail; none in any other build.
#pragma once

namespace octet::kernels {

#ifdef OCTET_PLANTED_BUG
inline constexpr int kPlantedBug = OCTET_PLANTED_BUG;
#else
inline constexpr int kPlantedBug = 0;
#endif
inline constexpr int kMissingBarrier = 1;  // between a tile's exponentials and their sum
inline constexpr int kReadPastEnd = 2;     // of the logits, by one
inline constexpr int kLostCarry = 3;       // of a bin's mass

}  // namespace octet::kernels
