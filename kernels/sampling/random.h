// The randomness of sampling as arithmetic that the host and a device's kernels share: a counter
// based generator and the noise made of its words.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "kernels/exact_math.h"

namespace octet::kernels {

inline constexpr int kPhiloxRounds = 10;
inline constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u;
inline constexpr uint32_t kPhiloxMultiplier1 = 0xCD9E8D57u;
inline constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u;
inline constexpr uint32_t kPhiloxWeyl1 = 0xBB67AE85u;

// The high word of a * b.
constexpr uint32_t HighWord(uint32_t a, uint32_t b) {
#ifdef __CUDA_ARCH__
  return __umulhi(a, b);  // makes one multiplication of both words, a shift an addition more
#else
  return static_cast<uint32_t>(uint64_t{a} * b >> 32);
#endif
}

// A 32-bit word of randomness times four for (seed, position, index, sample_index). Philox4x32-10:
// Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC11).
constexpr std::array<uint32_t, 4> Philox(uint64_t seed, uint64_t position, uint32_t index,
                                         uint32_t sample_index) {
  uint32_t c0 = static_cast<uint32_t>(position);
  uint32_t c1 = static_cast<uint32_t>(position >> 32);
  uint32_t c2 = index;
  uint32_t c3 = sample_index;
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint32_t high0 = HighWord(kPhiloxMultiplier0, c0);
    const uint32_t low0 = kPhiloxMultiplier0 * c0;
    const uint32_t high2 = HighWord(kPhiloxMultiplier1, c2);
    const uint32_t low2 = kPhiloxMultiplier1 * c2;
    c0 = high2 ^ c1 ^ key0;
    c1 = low2;
    c2 = high0 ^ c3 ^ key1;
    c3 = low0;
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  return {c0, c1, c2, c3};
}

// -log(-log(1 - v)) for v = (word + 1/2) / 2^32, in double and rounded once. Small words are the
// large noise, so that the upper tail keeps its resolution; 1 - v is exact.
constexpr float GumbelNoise(uint32_t word) {
  const double v = (word + 0.5) * 0x1p-32;
  return static_cast<float>(-ExactLog(-ExactLog(1.0 - v)));
}

// At least GumbelNoise(word) - 5e-6, without a logarithm: as -log(1 - v) >= v, the noise is at most
// -log(v), and where 2^e (1 + m) is the word as a float, whose bits read as an integer are e + m
// but for scale and offset, log2(1 + m) >= m. Above by at most 0.06 for the small words that win.
constexpr float GumbelNoiseBound(uint32_t word) {
  constexpr int32_t kBitsOfAll = (127 + 32) << 23;  // of 2^32
  constexpr float kLn2PerBit = 0x1.62e430p-24f;     // ln 2 / 2^23, rounded up
  const auto bits = std::bit_cast<int32_t>(static_cast<float>(word));
  return static_cast<float>(kBitsOfAll - bits) * kLn2PerBit;
}

}  // namespace octet::kernels
