// The sums of attention_codes.h on the tile unit (AMX), which multiplies fours as they lie: up to
// 16 of them, of 16 neighbours each, times rows of 64 bytes. Eight vectors make a unit, two rows
// each, of high and of low bytes; what rows beyond the last vector hold does not matter.
#pragma once

#include "kernels/attention/attention_codes.h"

namespace octet::kernels {
namespace {

constexpr int64_t kTileFours = 16;  // that one instruction multiplies
constexpr int64_t kTileCodes = kTileFours * kFour;

// Tiles 0..3 are sums [rows, 16], 4 and 5 codes [16 fours, 64 bytes], 6 a unit's bytes [rows, 64].
void BeginSplit(const TileBundle& bundle) {
  if (bundle.tiles[0].format != KvFormat::kInt8) return;
  int64_t vectors = 1;
  for (int64_t i = 0; i < bundle.count; ++i) {
    const int64_t own = bundle.tiles[i].vectors();
    if (own > vectors) vectors = own;
  }
  const int64_t rows = 2 * (vectors < kUnitVectors ? vectors : kUnitVectors);
  alignas(64) struct {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {};
  } config;
  static_assert(sizeof(config) == 64);
  for (int t = 0; t < 7; ++t) {
    config.rows[t] = static_cast<uint8_t>(t == 4 || t == 5 ? kTileFours : rows);
  }
  asm volatile("" : : "r"(&config) : "memory");  // the intrinsic says that it reads 8 bytes of it
  _tile_loadconfig(&config);
}

// Two rows of a unit's sums over 64 neighbours, of high and of low bytes.
OCTET_INLINE void JoinBytes(const int32_t* rows, int32_t start, int32_t* sums) {
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i high = _mm512_load_si512(rows + j * 256);
    const __m512i low = _mm512_load_si512(rows + j * 256 + kLanes);
    const __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(high, 8), low);
    _mm512_storeu_si512(sums + j * kLanes, _mm512_add_epi32(sum, _mm512_set1_epi32(start)));
  }
}

OCTET_INLINE void ZeroSums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}
// To [4][16, 16].
OCTET_INLINE void StoreSums(int32_t* rows) {
  _tile_stored(0, rows, 64);
  _tile_stored(1, rows + 256, 64);
  _tile_stored(2, rows + 512, 64);
  _tile_stored(3, rows + 768, 64);
}

// Adds what tile 6 makes of 16 fours of 64 neighbours. The numbers of tiles must be literals.
template <bool kKeys>
OCTET_INLINE void AddTiles(const uint8_t* codes, int64_t stride, Ahead& ahead, int64_t lines) {
  ahead.Fetch(lines);
  _tile_loadd(4, codes, stride);
  if constexpr (kKeys) _tile_dpbsud(0, 6, 4);
  if constexpr (!kKeys) _tile_dpbusd(0, 6, 4);
  _tile_loadd(5, codes + 64, stride);
  if constexpr (kKeys) _tile_dpbsud(1, 6, 5);
  if constexpr (!kKeys) _tile_dpbusd(1, 6, 5);
  ahead.Fetch(lines);
  _tile_loadd(4, codes + 128, stride);
  if constexpr (kKeys) _tile_dpbsud(2, 6, 4);
  if constexpr (!kKeys) _tile_dpbusd(2, 6, 4);
  _tile_loadd(5, codes + 192, stride);
  if constexpr (kKeys) _tile_dpbsud(3, 6, 5);
  if constexpr (!kKeys) _tile_dpbusd(3, 6, 5);
}

OCTET_INLINE FetchPace PaceOf(const AttentionTile& tile, const VisibleBlock& block) {
  // Scores and values take about as long as the softmax of one vector each.
  const int64_t vectors = block.end - block.begin;
  const int64_t lines = tile.head_bytes / kBufferAlignment / (vectors + 2) + 1;
  const int64_t units = (vectors + kUnitVectors - 1) / kUnitVectors;
  const int64_t places = units * tile.padded_dim / kTileCodes * 2;
  return {lines / places + 1, lines / 4, lines / places + 1};
}

// f(first vector of a unit, the block's vectors in it).
template <typename F>
OCTET_INLINE void ForEachUnit(const VisibleBlock& block, const F& f) {
  for (int64_t v = block.begin / kUnitVectors * kUnitVectors; v < block.end; v += kUnitVectors) {
    const int64_t end = v + kUnitVectors < block.end ? v + kUnitVectors : block.end;
    f(v, v > block.begin ? v : block.begin, end);
  }
}

void ScoreBlock(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines) {
  const Fours keys = KeyFours(tile, block);
  // The last fours of a head that has no whole tile of them: what lies behind may not be the
  // cache's. Behind these in the copy are old ones, times codes of 0.
  const int64_t whole = keys.count / kTileFours * kTileFours;
  auto* const rest = reinterpret_cast<uint8_t*>(tile.wide);
  std::memcpy(rest, keys.at + whole * keys.stride,
              static_cast<size_t>((keys.count - whole) * keys.stride));
  alignas(64) int32_t rows[4 * 256];
  ForEachUnit(block, [&](int64_t first, int64_t begin, int64_t end) {
    asm volatile("" ::: "memory");  // GCC's intrinsics do not say that they read memory
    ZeroSums();
    for (int64_t four = 0; four < keys.count; four += kTileFours) {
      _tile_loadd(6, QueryBytes(tile, first) + four * kFour, tile.padded_dim);
      AddTiles<true>(four < whole ? keys.at + four * keys.stride : rest, keys.stride, ahead, lines);
    }
    StoreSums(rows);
    asm volatile("" ::: "memory");
    for (int64_t v = begin; v < end; ++v) {
      JoinBytes(rows + (v - first) * 2 * kLanes, KeyStart(tile, v), tile.dots + v * kKvBlockTokens);
    }
  });
}

// sink(vector, sums [64], first value) for all vectors and values of the block.
template <typename Sink>
void SumBlock(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines,
              const Sink& sink) {
  VisibleBlock whole = block;  // weights of tokens that no vector sees are 0
  whole.tokens = {0, kKvBlockTokens};
  alignas(64) int32_t rows[4 * 256];
  alignas(64) int32_t sums[kSumDims];
  ForEachUnit(block, [&](int64_t first, int64_t begin, int64_t end) {
    asm volatile("" ::: "memory");
    _tile_loadd(6, WeightsOf(tile, first), kKvBlockTokens);
    for (int64_t c = 0; c < tile.head_dim; c += kSumDims) {
      const Fours values = ValueFours(tile, whole, c);
      ZeroSums();
      AddTiles<false>(values.at, values.stride, ahead, lines);
      StoreSums(rows);
      asm volatile("" ::: "memory");
      for (int64_t v = begin; v < end; ++v) {
        JoinBytes(rows + (v - first) * 2 * kLanes, 0, sums);
        sink(v, sums, c);
      }
    }
  });
}

}  // namespace
}  // namespace octet::kernels
