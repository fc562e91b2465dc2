// The tile unit's instructions for a pair of bands of rows: six tiles of sums, one of rows and one
// of codes. Included by linear_cpu_amx.cc alone, hence the unnamed namespace (see panel.h). Tile
// numbers must be literals.
#pragma once

#include "kernels/linear/avx512.h"

namespace octet::kernels {
namespace {

constexpr int64_t kTileChunks = kTileInputs / kChunkInputs;
constexpr int64_t kTileSums = kTileRows * kVectorOutputs;
constexpr int kBandsMax = 2;  // at a time; with 3 vectors of outputs they fill six of eight tiles

// For _tile_loadconfig: all eight tiles whole.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

// How codes become the bytes of the unit's second operand.
enum class Spread : uint8_t {
  kInt4Signed,   // symmetric: code - 8
  kInt4Code,     // asymmetric: the code
  kInt8Signed,   // symmetric: code - 128
  kInt8Unsigned  // asymmetric: the code, multiplied as unsigned
};

constexpr bool IsInt4(Spread spread) {
  return spread == Spread::kInt4Signed || spread == Spread::kInt4Code;
}

// For the affine instruction of GFNI: output bit i is input bit first + i up to bit 3, and above it
// bit 3 again if the nibble is to keep a sign, else zero.
constexpr int64_t NibbleMatrix(int first, bool is_signed) {
  uint64_t matrix = 0;
  for (int bit = 0; bit < (is_signed ? 8 : 4); ++bit) {
    const int from = first + (bit < 3 ? bit : 3);
    matrix |= uint64_t{1} << (8 * (7 - bit) + from);
  }
  return static_cast<int64_t>(matrix);
}

// One nibble of every byte: the code, or code - 8, whose bits above the third are those of the
// third inverted.
template <Spread kSpread>
[[gnu::always_inline]] inline __m512i Nibbles(__m512i raw, __m512i matrix) {
  constexpr int kInverted = kSpread == Spread::kInt4Signed ? 0xf8 : 0;
  return _mm512_gf2p8affine_epi64_epi8(raw, matrix, kInverted);
}

template <Spread kSpread>
inline __m512i SpreadBytes(__m512i codes) {
  if (kSpread == Spread::kInt8Signed) return _mm512_xor_si512(codes, _mm512_set1_epi8(-128));
  return codes;
}

// A chunk of V vectors of outputs to two lines of each of V tiles [V][16 quads][16 outputs][4].
template <Spread kSpread, int V>
[[gnu::always_inline]] inline void SpreadChunk(const std::byte* codes, int64_t chunk_bytes,
                                               int8_t* tile) {
  constexpr bool kSigned = kSpread == Spread::kInt4Signed;
  PrefetchLines<Prefetch::kStaged>(codes, chunk_bytes);
#pragma GCC unroll 3
  for (int v = 0; v < V; ++v, tile += kTileBytes) {
    const __m512i raw = _mm512_loadu_si512(codes + v * 64);
    __m512i low = SpreadBytes<kSpread>(raw);
    __m512i high;
    if (IsInt4(kSpread)) {
      low = Nibbles<kSpread>(raw, _mm512_set1_epi64(NibbleMatrix(0, kSigned)));
      high = Nibbles<kSpread>(raw, _mm512_set1_epi64(NibbleMatrix(4, kSigned)));
    } else {
      high = SpreadBytes<kSpread>(_mm512_loadu_si512(codes + chunk_bytes / 2 + v * 64));
    }
    _mm512_store_si512(tile, low);
    _mm512_store_si512(tile + 64, high);
  }
}

// Chunks to tiles [tile][V][16 quads of inputs][16 outputs][4].
template <Spread kSpread, int V>
[[gnu::noinline]] void SpreadCodes(const std::byte* codes, int64_t chunk_bytes, int64_t chunks,
                                   int8_t* to) {
  const auto place = [&](int64_t chunk) {
    return to + chunk / kTileChunks * V * kTileBytes + chunk % kTileChunks * 128;
  };
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    SpreadChunk<kSpread, V>(codes + chunk * chunk_bytes, chunk_bytes, place(chunk));
  }
  // What is left of the last tile meets rows that are zero there, and must only be finite: integers
  // are. It is cleared all the same, lest uninitialized memory decide on anything.
  for (; chunks % kTileChunks != 0; ++chunks) {
    for (int v = 0; v < V; ++v) {
      _mm512_store_si512(place(chunks) + v * kTileBytes, _mm512_setzero_si512());
      _mm512_store_si512(place(chunks) + v * kTileBytes + 64, _mm512_setzero_si512());
    }
  }
}

// Tiles 0..5 are sums [band][vector], 6 holds rows, 7 codes.
#define OCTET_MULTIPLY_TILE(sum)          \
  if (kSpread == Spread::kInt8Unsigned) { \
    _tile_dpbsud(sum, 6, 7);              \
  } else {                                \
    _tile_dpbssd(sum, 6, 7);              \
  }

template <Spread kSpread, int V, int B>
inline void MultiplyTiles(const int8_t* rows, int64_t band_bytes, const int8_t* codes,
                          int64_t tiles) {
  asm volatile("" ::: "memory");  // GCC's intrinsics do not say that they read memory
  for (int64_t tile = 0; tile < tiles; ++tile, rows += kTileBytes, codes += V * kTileBytes) {
    _tile_loadd(6, rows, 64);
    _tile_loadd(7, codes, 64);
    OCTET_MULTIPLY_TILE(0)
    if constexpr (B == 2) {
      _tile_loadd(6, rows + band_bytes, 64);
      OCTET_MULTIPLY_TILE(3)
    }
    if constexpr (V == 3) {
      _tile_loadd(7, codes + kTileBytes, 64);
      if constexpr (B == 2) {
        OCTET_MULTIPLY_TILE(4)
        _tile_loadd(6, rows, 64);
      }
      OCTET_MULTIPLY_TILE(1)
      _tile_loadd(7, codes + 2 * kTileBytes, 64);
      OCTET_MULTIPLY_TILE(2)
      if constexpr (B == 2) {
        _tile_loadd(6, rows + band_bytes, 64);
        OCTET_MULTIPLY_TILE(5)
      }
    }
  }
}

template <int V, int B>
inline void ClearTiles() {
  _tile_zero(0);
  if constexpr (V == 3) {
    _tile_zero(1);
    _tile_zero(2);
  }
  if constexpr (B == 2) {
    _tile_zero(3);
    if constexpr (V == 3) {
      _tile_zero(4);
      _tile_zero(5);
    }
  }
}

// To [band][vector][16 rows][16 outputs].
template <int V, int B>
inline void StoreTiles(int32_t* to) {
  _tile_stored(0, to, 64);
  if constexpr (V == 3) {
    _tile_stored(1, to + kTileSums, 64);
    _tile_stored(2, to + 2 * kTileSums, 64);
  }
  if constexpr (B == 2) {
    _tile_stored(3, to + V * kTileSums, 64);
    if constexpr (V == 3) {
      _tile_stored(4, to + 4 * kTileSums, 64);
      _tile_stored(5, to + 5 * kTileSums, 64);
    }
  }
}

// Clear, multiply and store for two tiles of inputs and 3 vectors of outputs, in kTileSteps steps
// of about equal length: other work goes between them.
constexpr int kTileSteps = 16;

template <Spread kSpread, int kStep>
[[gnu::always_inline]] inline void StepOneBand(const int8_t* rows, const int8_t* codes,
                                               int32_t* sums) {
  if constexpr (kStep == 0) {
    ClearTiles<3, 1>();
    _tile_loadd(6, rows, 64);
    _tile_loadd(7, codes, 64);
  }
  if constexpr (kStep == 1) {
    OCTET_MULTIPLY_TILE(0)
    _tile_loadd(7, codes + kTileBytes, 64);
  }
  if constexpr (kStep == 3) {
    OCTET_MULTIPLY_TILE(1)
    _tile_loadd(7, codes + 2 * kTileBytes, 64);
  }
  if constexpr (kStep == 5) {
    OCTET_MULTIPLY_TILE(2)
    _tile_loadd(6, rows + kTileBytes, 64);
    _tile_loadd(7, codes + 3 * kTileBytes, 64);
  }
  if constexpr (kStep == 7) {
    OCTET_MULTIPLY_TILE(0)
    _tile_loadd(7, codes + 4 * kTileBytes, 64);
  }
  if constexpr (kStep == 9) {
    OCTET_MULTIPLY_TILE(1)
    _tile_loadd(7, codes + 5 * kTileBytes, 64);
  }
  if constexpr (kStep == 11) {
    OCTET_MULTIPLY_TILE(2)
    _tile_stored(0, sums, 64);
  }
  if constexpr (kStep == 13) _tile_stored(1, sums + kTileSums, 64);
  if constexpr (kStep == 15) _tile_stored(2, sums + 2 * kTileSums, 64);
}

template <Spread kSpread, int kStep>
[[gnu::always_inline]] inline void StepTwoBands(const int8_t* rows, int64_t band_bytes,
                                                const int8_t* codes, int32_t* sums) {
  const int8_t* others = rows + band_bytes;
  if constexpr (kStep == 0) {
    ClearTiles<3, 2>();
    _tile_loadd(6, rows, 64);
    _tile_loadd(7, codes, 64);
  }
  if constexpr (kStep == 1) {
    OCTET_MULTIPLY_TILE(0)
    _tile_loadd(6, others, 64);
  }
  if constexpr (kStep == 2) {
    OCTET_MULTIPLY_TILE(3)
    _tile_loadd(7, codes + kTileBytes, 64);
  }
  if constexpr (kStep == 3) {
    OCTET_MULTIPLY_TILE(4)
    _tile_loadd(6, rows, 64);
  }
  if constexpr (kStep == 4) {
    OCTET_MULTIPLY_TILE(1)
    _tile_loadd(7, codes + 2 * kTileBytes, 64);
  }
  if constexpr (kStep == 5) {
    OCTET_MULTIPLY_TILE(2)
    _tile_loadd(6, others, 64);
  }
  if constexpr (kStep == 6) {
    OCTET_MULTIPLY_TILE(5)
    _tile_loadd(7, codes + 3 * kTileBytes, 64);
    _tile_loadd(6, others + kTileBytes, 64);
  }
  if constexpr (kStep == 7) {
    OCTET_MULTIPLY_TILE(3)
    _tile_loadd(6, rows + kTileBytes, 64);
  }
  if constexpr (kStep == 8) {
    OCTET_MULTIPLY_TILE(0)
    _tile_loadd(7, codes + 4 * kTileBytes, 64);
  }
  if constexpr (kStep == 9) {
    OCTET_MULTIPLY_TILE(1)
    _tile_stored(0, sums, 64);
    _tile_loadd(6, others + kTileBytes, 64);
  }
  if constexpr (kStep == 10) {
    OCTET_MULTIPLY_TILE(4)
    _tile_stored(3, sums + 3 * kTileSums, 64);
    _tile_loadd(7, codes + 5 * kTileBytes, 64);
  }
  if constexpr (kStep == 11) {
    OCTET_MULTIPLY_TILE(5)
    _tile_stored(1, sums + kTileSums, 64);
    _tile_loadd(6, rows + kTileBytes, 64);
  }
  if constexpr (kStep == 12) {
    OCTET_MULTIPLY_TILE(2)
    _tile_stored(4, sums + 4 * kTileSums, 64);
  }
  if constexpr (kStep == 14) _tile_stored(5, sums + 5 * kTileSums, 64);
  if constexpr (kStep == 15) _tile_stored(2, sums + 2 * kTileSums, 64);
}
#undef OCTET_MULTIPLY_TILE

}  // namespace
}  // namespace octet::kernels
