// What the two forms of AVX-512 VNNI with int8 activations share: one or two rows times two panels
// (linear_cpu_pair_avx512.cc) and everything else (linear_cpu_avx512.cc). Compiled into each, hence
// the unnamed namespace (see panel.h).
//
// A tile is V vectors of 16 outputs times R rows, whose int32 sums live in registers over a segment
// and are then added, scaled, to the leaf in L1.
#pragma once

#include "kernels/linear/avx512.h"
#include "kernels/linear/row_tiles.h"

namespace octet::kernels {

// Int8 activations, a whole panel or two.
void SumPairAvx512(const PanelArgs& args, float* slots);

namespace {

// Where the codes of a segment are read.
enum class Codes {
  kPacked,        // as they lie in the panel
  kPackedToKeep,  // there too, and int4 ones are left spread
  kSpread,        // int4: one code in a byte, as int8 codes lie; int8: in the panel, again
};

// Few rows sum low and high nibbles (inputs 0..3 and 4..7 of a chunk) apart, lest they wait for
// their own additions. High nibbles are then multiplied where they are, times 16, and their sum is
// divided: a segment of kSegmentInputsMax still fits.
template <int V, int R>
struct Tile {
  static constexpr int kParts = R <= 2 ? 2 : 1;
  __m512i sum[kParts][R][V];
};

template <bool kInt4, Codes kCodes, int R>
constexpr bool kHighInPlace = kInt4&& kCodes == Codes::kPacked&& R <= 2;

// `x_sum` as RowBlock::sums.
template <int V, int R, bool kAsymmetric>
[[gnu::always_inline]] inline void BeginTile(const int32_t* x_sum, Tile<V, R>& tile) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const __m512i start = kAsymmetric ? _mm512_setzero_si512() : _mm512_set1_epi32(x_sum[r]);
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
      tile.sum[0][r][v] = start;
      if (Tile<V, R>::kParts == 2) tile.sum[1][r][v] = _mm512_setzero_si512();
    }
  }
}

template <int V, int R>
[[gnu::always_inline]] inline void MultiplyQuad(const __m512i (&codes)[V], const int8_t* q,
                                                __m512i (&sum)[R][V]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    int32_t quad;
    __builtin_memcpy(&quad, q + r * 4, 4);
    const __m512i x = _mm512_set1_epi32(quad);
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
      // As an instruction, because GCC 12 moves the accumulators of the intrinsic to memory.
      asm("vpdpbusd %2, %1, %0" : "+v"(sum[r][v]) : "v"(codes[v]), "v"(x));
    }
  }
}

// One chunk, whose second quad of inputs lies `second_quad` bytes behind the first one in int8.
template <int V, int R, bool kInt4, Codes kCodes>
[[gnu::always_inline]] inline void MultiplyChunk(const std::byte* codes, int64_t second_quad,
                                                 uint8_t* spread, const int8_t* q,
                                                 Tile<V, R>& tile) {
  const __m512i low_bits = _mm512_set1_epi8(0x0f);
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    __m512i quad[V];
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
      if (!kInt4) {
        quad[v] = _mm512_loadu_si512(codes + i * second_quad + v * 64);
        continue;
      }
      if (kCodes == Codes::kSpread) {
        quad[v] = _mm512_load_si512(spread + (i * V + v) * 64);
        continue;
      }
      const __m512i raw = _mm512_loadu_si512(codes + v * 64);
      if (kHighInPlace<kInt4, kCodes, R> && i == 1) {
        quad[v] = _mm512_andnot_si512(low_bits, raw);
      } else {
        quad[v] = _mm512_and_si512(i == 0 ? raw : _mm512_srli_epi16(raw, 4), low_bits);
      }
      if (kCodes == Codes::kPackedToKeep) _mm512_store_si512(spread + (i * V + v) * 64, quad[v]);
    }
    MultiplyQuad<V, R>(quad, q + i * R * 4, tile.sum[i % Tile<V, R>::kParts]);
    // Codes are loaded once more rather than kept for the second quad, where sums need registers.
    if (R > 2) asm("" : "+r"(codes));
  }
}

// What the sums of a tile are scaled by and added to.
struct TileEnd {
  const float* x_scale = nullptr;  // [R]
  const int32_t* x_sum = nullptr;  // [R]
  LeafStep to;                     // of the tile's first row and output
};

template <int V, int R, bool kAsymmetric, bool kFirst, bool kJoins>
[[gnu::always_inline]] inline void AddToLeaf(const TileEnd& end, const GroupScales<V>& group,
                                             const __m512i (&total)[R][V]) {
  float* const to = kJoins ? end.to.left : end.to.leaf;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const __m512 x_scale = _mm512_set1_ps(end.x_scale[r]);
    const __m512 x_sum = _mm512_castsi512_ps(_mm512_set1_epi32(end.x_sum[r]));
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
      const int64_t at = r * kPanelOutputs + v * kVectorOutputs;
      const __m512 before = kFirst ? _mm512_setzero_ps() : _mm512_load_ps(end.to.leaf + at);
      const __m512 scale = _mm512_mul_ps(group.scale[v], x_scale);
      __m512 sum = _mm512_mul_ps(_mm512_cvtepi32_ps(total[r][v]), scale);
      // A leaf starts from +0. What is joined at once need not: no sum is -0.
      if (!(kFirst && kJoins && !kAsymmetric)) sum = _mm512_add_ps(before, sum);
      if (kAsymmetric) sum = _mm512_add_ps(sum, _mm512_mul_ps(group.offset[v], x_sum));
      if (kJoins) sum = _mm512_add_ps(_mm512_load_ps(to + at), sum);
      _mm512_store_ps(to + at, sum);
    }
  }
}

template <int V, int R, bool kInt4, bool kAsymmetric, Codes kCodes>
[[gnu::always_inline]] inline void EndTile(const TileEnd& end, const GroupScales<V>& group,
                                           Tile<V, R>& tile) {
  if constexpr (Tile<V, R>::kParts == 2) {
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) {
        __m512i high = tile.sum[1][r][v];
        if (kHighInPlace<kInt4, kCodes, R>) high = _mm512_srai_epi32(high, 4);
        tile.sum[0][r][v] = _mm512_add_epi32(tile.sum[0][r][v], high);
      }
    }
  }
  const auto& total = tile.sum[0];
  if (end.to.first) {
    end.to.left != nullptr ? AddToLeaf<V, R, kAsymmetric, true, true>(end, group, total)
                           : AddToLeaf<V, R, kAsymmetric, true, false>(end, group, total);
  } else {
    end.to.left != nullptr ? AddToLeaf<V, R, kAsymmetric, false, true>(end, group, total)
                           : AddToLeaf<V, R, kAsymmetric, false, false>(end, group, total);
  }
}

}  // namespace
}  // namespace octet::kernels
