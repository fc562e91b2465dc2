// The sizes of the two forms of the matrix loop.
#pragma once

#include <cstdint>

namespace octet::kernels {

inline constexpr int kMmaTilesOfWarp = 8;   // independent products, which hide each other's latency
inline constexpr int kWgmmaColumns = 256;   // of B
inline constexpr int kWgmmaRows = 64;       // of A, for each of the block's two warpgroups
inline constexpr int kWgmmaRowBytes = 128;  // of A and B: one swizzled row
inline constexpr int kWgmmaStepBytes = 32;  // that one instruction takes of it

struct MatrixTiles {
  int64_t products = 0;  // multiplications of one block in one iteration
  int64_t depth = 0;     // of the sum that an element is, in one iteration

  static constexpr MatrixTiles Of(bool wgmma, bool int8) {
    if (wgmma) {
      const int64_t depth = kWgmmaRowBytes / (int8 ? 1 : 2);
      return {2 * kWgmmaRows * kWgmmaColumns * depth, depth};
    }
    const int64_t depth = int8 ? 32 : 16;
    return {8 * kMmaTilesOfWarp * 16 * 8 * depth, depth};  // 8 warps
  }
};

}  // namespace octet::kernels
