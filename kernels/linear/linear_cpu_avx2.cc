// AVX2: int8 activations, exact int32 sums (avx2_int8.h), any number of rows. A tile is two vectors
// of 8 outputs times up to four rows; the vectors of a panel go one pair after the other, segment
// by segment. The first rows of a block leave the int4 codes of a segment spread, one in each byte,
// for the others.
#include "kernels/linear/avx2_int8.h"
#include "kernels/linear/quantize_rows.h"
#include "kernels/linear/row_tiles.h"

namespace octet::kernels {
namespace {

constexpr int64_t kSpreadQuads = 64;  // of inputs, whose codes are left spread
constexpr int64_t kWideQuads = 16;    // of inputs, whose activations are widened at a time
constexpr int kTileVectors = kVectorOutputs / kVector;
// Of packed codes, what lies together of a tile's outputs.
static_assert(kTileVectors * 32 == kLineBytes);

// Where the codes of a segment are read.
enum class Codes {
  kPacked,        // as they lie in the panel
  kPackedToKeep,  // there too, and they are left spread
  kSpread,        // one code of 4 bits in a byte, [quads][kLineBytes]
};

// One segment of the rows times the outputs of a tile.
struct SegmentArgs : RowTiles {
  using RowTiles::RowTiles;

  const std::byte* codes = nullptr;  // packed
  int64_t step_bytes = 0;            // from a line of the tile's to its next
  int64_t quads = 0;                 // of inputs
  uint8_t* spread = nullptr;
  const std::byte* ahead = nullptr;  // what to ask for meanwhile, as much as is read
};

// The codes of one quad of inputs: a line has two, the second one's in the high nibbles.
template <Codes kCodes>
[[gnu::always_inline]] inline void LoadInt4(const SegmentArgs& args, int64_t quad, int i,
                                            __m256i (&code)[kTileVectors]) {
  uint8_t* const spread = args.spread + (quad + i) * kLineBytes;
  if (kCodes == Codes::kSpread) {
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) code[v] = LoadCodes(spread + v * 32);
    return;
  }
  const __m256i mask = _mm256_set1_epi8(0x0f);
  const std::byte* line = args.codes + (quad / 2 + i / 2) * args.step_bytes;
#pragma GCC unroll 2
  for (int v = 0; v < kTileVectors; ++v) {
    const __m256i raw = LoadCodes(line + v * 32);
    code[v] = _mm256_and_si256(i % 2 == 0 ? raw : _mm256_srli_epi16(raw, 4), mask);
    if (kCodes == Codes::kPackedToKeep) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(spread + v * 32), code[v]);
    }
  }
}

// sum (+)= codes of quad `quad` + i times activations, kBegins: =. `quad` is even.
template <int R, Codes kCodes, bool kBegins>
[[gnu::always_inline]] inline void MultiplyQuad(const SegmentArgs& args, int64_t quad, int i,
                                                __m256i (&sum)[R][kTileVectors]) {
  __m256i code[kTileVectors];
  LoadInt4<kCodes>(args, quad, i, code);
  const int8_t* q = args.q + args.first_input * R + (quad + i) * R * 4;
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const __m256i x = LoadQuad(q + r * 4);
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) {
      const __m256i products = _mm256_maddubs_epi16(code[v], x);
      if (kBegins) {
        sum[r][v] = products;
      } else {
        Add16(sum[r][v], products);
      }
    }
  }
}

// total (+)= codes * activations of up to kNarrowQuads quads.
template <int R, Codes kCodes>
[[gnu::always_inline]] inline void MultiplyQuads(const SegmentArgs& args, int64_t quad,
                                                 __m256i* total) {
  __m256i sum[R][kTileVectors];
  MultiplyQuad<R, kCodes, true>(args, quad, 0, sum);
  const int64_t left = args.quads - quad;
  if (left >= kNarrowQuads) {
#pragma GCC unroll 8
    for (int i = 1; i < kNarrowQuads; ++i) MultiplyQuad<R, kCodes, false>(args, quad, i, sum);
  } else {  // a multiple of two
    MultiplyQuad<R, kCodes, false>(args, quad, 1, sum);
    for (int64_t i = 2; i < left; i += 2) {
      MultiplyQuad<R, kCodes, false>(args, quad + i, 0, sum);
      MultiplyQuad<R, kCodes, false>(args, quad + i, 1, sum);
    }
  }
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v, ++total) {
      __m256i wide = _mm256_madd_epi16(sum[r][v], ones);
      if (quad > 0) wide = _mm256_add_epi32(*total, wide);
      *total = wide;
    }
  }
}

template <int R, Codes kCodes>
[[gnu::always_inline]] inline void SumInt4(const SegmentArgs& args, __m256i* total) {
  for (int64_t quad = 0; quad < args.quads; quad += kNarrowQuads) {
    if (kCodes != Codes::kSpread) {
      Prefetch(args.ahead + quad / 2 * kLineBytes, kNarrowQuads / 2);
    }
    MultiplyQuads<R, kCodes>(args, quad, total);
  }
}

// Activations of 16 bits of `count` quads of rows, each as inputs 0 and 2, 1 and 3. Reads up to 12
// bytes more.
inline void WidenQuads(const int8_t* q, int64_t count, int16_t* wide) {
  const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
  for (int64_t i = 0; i < count; i += 4) {
    const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(q + i * 4));
    _mm256_store_si256(reinterpret_cast<__m256i*>(wide + i * 4),
                       _mm256_cvtepi8_epi16(_mm_shuffle_epi8(four, order)));
  }
}

template <int R>
[[gnu::always_inline]] inline void SumInt8(const SegmentArgs& args, __m256i* total) {
  alignas(32) int16_t wide[kWideQuads * R * 4];
  const __m256i low_bytes = _mm256_set1_epi16(0xff);
  __m256i sum[R][kTileVectors];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) sum[r][v] = _mm256_setzero_si256();
  }
  const std::byte* line = args.codes;
  for (int64_t quad = 0; quad < args.quads; quad += kWideQuads) {
    const int64_t left = args.quads - quad;
    const int64_t count = left < kWideQuads ? left : kWideQuads;
    WidenQuads(args.q + (args.first_input + quad * 4) * R, count * R, wide);
    const int16_t* q = wide;
    for (int64_t i = 0; i < count; ++i, line += args.step_bytes, q += R * 4) {
      Prefetch(args.ahead + (quad + i) * kLineBytes, 1);
      // Even inputs, then odd ones, from a second load: all at once, sums went to memory.
#pragma GCC unroll 2
      for (int odd = 0; odd < 2; ++odd) {
        __m256i code[kTileVectors];
#pragma GCC unroll 2
        for (int v = 0; v < kTileVectors; ++v) {
          const __m256i raw = LoadCodes(line + v * 32);
          code[v] = odd == 0 ? _mm256_and_si256(raw, low_bytes) : _mm256_srli_epi16(raw, 8);
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          const __m256i x = LoadQuad(q + r * 4 + odd * 2);
#pragma GCC unroll 2
          for (int v = 0; v < kTileVectors; ++v) Add32(sum[r][v], _mm256_madd_epi16(code[v], x));
        }
        asm("" : "+r"(line));  // or the first load would be kept for it
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kTileVectors; ++v) *total++ = sum[r][v];
  }
}

template <int R, bool kInt4, bool kAsymmetric, Codes kCodes>
[[gnu::always_inline]] inline void AddTile(const SegmentArgs& args,
                                           const GroupScales<kTileVectors>& group) {
  __m256i totals[R * kTileVectors];
  __m256i* total = totals;
  if (R > 1) asm("" : "+r"(total));  // in memory: registers are for the sums of quads
  if constexpr (kInt4) {
    SumInt4<R, kCodes>(args, total);
  } else {
    SumInt8<R>(args, total);
  }
  const int64_t at = args.index * R;
  const SegmentEnd end = {args.x_scale + at, args.x_sum + at, args.to};
  AddToLeaf<R, kTileVectors, kAsymmetric>(end, group, total);
}

// The last tile, of R rows or fewer.
template <int R, bool kInt4, bool kAsymmetric, Codes kCodes>
inline void AddLastTile(const SegmentArgs& args, const GroupScales<kTileVectors>& group,
                        int64_t rows) {
  if (rows == R) return AddTile<R, kInt4, kAsymmetric, kCodes>(args, group);
  if constexpr (R > 1) AddLastTile<R - 1, kInt4, kAsymmetric, kCodes>(args, group, rows);
}

// All tiles, which read the codes as kCodes says; kPackedToKeep: only the first one does.
template <bool kInt4, bool kAsymmetric, Codes kCodes>
void AddTiles(SegmentArgs args, const GroupScales<kTileVectors>& group) {
  constexpr int R = kAvx2TileRows;
  constexpr Codes kOthers = kCodes == Codes::kPackedToKeep ? Codes::kSpread : kCodes;
  int64_t rows = args.rows;
  if constexpr (kCodes == Codes::kPackedToKeep) {  // of more rows than one tile has
    AddTile<R, kInt4, kAsymmetric, kCodes>(args, group);
    args.ToNextTile();
    rows -= R;
  }
  for (; rows >= R; rows -= R) {
    AddTile<R, kInt4, kAsymmetric, kOthers>(args, group);
    args.ToNextTile();
  }
  if (rows > 0) AddLastTile<R - 1, kInt4, kAsymmetric, kOthers>(args, group, rows);
}

// The whole panel, segment by segment, so that it is read once, front to back.
template <bool kInt4, bool kAsymmetric>
void SumPanelInt8(const PanelArgs& panel, float* slots) {
  alignas(32) uint8_t spread[kSpreadQuads * kLineBytes];
  SegmentArgs args(panel, kAvx2TileRows);
  args.step_bytes = panel.width * 4;
  args.spread = spread;
  SumLeaves(panel, 0, panel.width, slots,
            [&](const Segment& segment, int64_t index, const LeafStep& step) {
              const std::byte* codes = panel.panel + segment.codes_at * panel.width;
              args.quads = 2 * ChunksOf(segment);
              args.SetSegment(segment, index);
              const bool keeps = kInt4 && args.rows > kAvx2TileRows && args.quads <= kSpreadQuads;
              for (int64_t first = 0; first < panel.width; first += kVectorOutputs) {
                args.codes = codes + first * 4;
                args.ahead =
                    codes + kPrefetchBytes + first * 4 * (kInt4 ? args.quads / 2 : args.quads);
                args.to = step.From(first);
                const GroupScales<kTileVectors> group(panel, first, segment);
                keeps ? AddTiles<kInt4, kAsymmetric, Codes::kPackedToKeep>(args, group)
                      : AddTiles<kInt4, kAsymmetric, Codes::kPacked>(args, group);
              }
            });
}

RowScale ScaleOf(const float* x, int64_t inputs) {
  __m256i amax = _mm256_setzero_si256();  // as integers, so that a NaN is the largest
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  for (int64_t k = 0; k < inputs; k += 8) {
    const __m256i bits = _mm256_castps_si256(LoadInputs(x + k, inputs - k));
    amax = _mm256_max_epu32(amax, _mm256_and_si256(bits, magnitude));
  }
  alignas(32) uint32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), amax);
  uint32_t bits = 0;
  for (const uint32_t lane : lanes) bits = lane > bits ? lane : bits;
  return RowScaleOf(bits);
}

// Writes one row's codes of one segment and returns their sum. A chunk is one vector.
int32_t QuantizeRow(const float* x, const Segment& segment, float inverse, int64_t rows,
                    int8_t* to) {
  __m256i sum = _mm256_setzero_si256();
  for (int64_t k = 0; k < segment.inputs; k += kChunkInputs, to += rows * 8) {
    const __m256 values = LoadInputs(x + k, segment.inputs - k);
    __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(values, _mm256_set1_ps(inverse)));
    if (inverse == 0) q = _mm256_setzero_si256();  // infinity times 0 is no number
    sum = _mm256_add_epi32(sum, q);
    const __m128i halves =
        _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
    const __m128i bytes = _mm_packs_epi16(halves, halves);
    const int32_t quads[2] = {_mm_cvtsi128_si32(bytes), _mm_extract_epi32(bytes, 1)};
    __builtin_memcpy(to, &quads[0], 4);
    __builtin_memcpy(to + rows * 4, &quads[1], 4);
  }
  alignas(32) int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sum);
  int32_t all = 0;
  for (const int32_t lane : lanes) all += lane;
  return all;
}

}  // namespace

void QuantizeAvx2(const QuantizeArgs& args) { QuantizeRows(args, ScaleOf, QuantizeRow); }

void SumPanelAvx2(const PanelArgs& args, float* slots) {
  if (!args.int8_activations) {
    SumPanelFloatAvx2(args, slots);
  } else if (args.block.rows == 1 && args.width == kPanelOutputs) {
    SumRowAvx2(args, slots);
  } else if (args.format == WeightFormat::kInt4) {
    args.asymmetric ? SumPanelInt8<true, true>(args, slots)
                    : SumPanelInt8<true, false>(args, slots);
  } else {
    args.asymmetric ? SumPanelInt8<false, true>(args, slots)
                    : SumPanelInt8<false, false>(args, slots);
  }
  StoreRoots(args, slots);
}

}  // namespace octet::kernels
