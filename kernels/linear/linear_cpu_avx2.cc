// AVX2: int8 activations, exact int32 sums. A tile is V vectors of 8 outputs times up to four rows.
//
// int4 codes: vpmaddubsw multiplies unsigned codes by signed activations and adds pairs to int16:
// at most 2 * 15 * 127 = 3810 in magnitude, so eight of them (four chunks) fit one int16
// accumulator before it is widened to int32. int8 codes would saturate there: their bytes are
// widened to int16, even and odd ones apart, and vpmaddwd adds the pairs in int32.
#include "kernels/linear/avx2.h"
#include "kernels/linear/leaf_sum.h"
#include "kernels/linear/quantize_rows.h"

namespace octet::kernels {
namespace {

constexpr int64_t kTileRows = 4;
constexpr int64_t kNarrowChunks = 4;  // chunks that an int16 accumulator holds: 8 * 3810 < 2^15
constexpr int64_t kPrefetchBytes = 8192;
constexpr int64_t kPrefetchRowsMin = 3;  // see linear_cpu_avx512.cc

inline __m256i LoadCodes(const std::byte* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

// As instructions, because GCC 12 reorders the intrinsics' sums and then spills them.
inline void Add16(__m256i& sum, __m256i a) { asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(a)); }
inline void Add32(__m256i& sum, __m256i a) { asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(a)); }

// Four activations of one row, in every quad of bytes.
inline __m256i LoadQuad(const int8_t* q) {
  int32_t quad;
  __builtin_memcpy(&quad, q, 4);
  return _mm256_set1_epi32(quad);
}

// Up to kNarrowChunks chunks of int4 codes: total += their products.
template <int V, int R>
inline void MultiplyInt4(const std::byte* codes, int64_t chunk_bytes, int64_t chunks,
                         const int8_t* q, int64_t stride, __m256i (&total)[R][V]) {
  const __m256i mask = _mm256_set1_epi8(0x0f);
  __m256i sum[R][V];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 6
    for (int v = 0; v < V; ++v) sum[r][v] = _mm256_setzero_si256();
  }
#pragma GCC unroll 1
  for (int64_t chunk = 0; chunk < chunks; ++chunk, codes += chunk_bytes, q += stride * 8) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m256i code[V];
#pragma GCC unroll 6
      for (int v = 0; v < V; ++v) {
        const __m256i raw = LoadCodes(codes + v * 32);
        code[v] = _mm256_and_si256(half == 0 ? raw : _mm256_srli_epi16(raw, 4), mask);
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const __m256i x = LoadQuad(q + half * stride * 4 + r * 4);
#pragma GCC unroll 6
        for (int v = 0; v < V; ++v) {
          Add16(sum[r][v], _mm256_maddubs_epi16(code[v], x));
        }
      }
    }
  }
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 6
    for (int v = 0; v < V; ++v) {
      total[r][v] = _mm256_add_epi32(total[r][v], _mm256_madd_epi16(sum[r][v], ones));
    }
  }
}

// The same of int8 codes, which need no accumulators of their own.
template <int V, int R>
inline void MultiplyInt8(const std::byte* codes, int64_t chunk_bytes, int64_t chunks,
                         const int8_t* q, int64_t stride, __m256i (&total)[R][V]) {
  const __m256i low_bytes = _mm256_set1_epi16(0xff);
  for (int64_t quad = 0; quad < 2 * chunks; ++quad, codes += chunk_bytes / 2, q += stride * 4) {
    __m256i even[V], odd[V];
#pragma GCC unroll 6
    for (int v = 0; v < V; ++v) {
      const __m256i raw = LoadCodes(codes + v * 32);
      even[v] = _mm256_and_si256(raw, low_bytes);
      odd[v] = _mm256_srli_epi16(raw, 8);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const __m256i x = LoadQuad(q + r * 4);
      const __m256i x_even = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8);
      const __m256i x_odd = _mm256_srai_epi16(x, 8);
#pragma GCC unroll 6
      for (int v = 0; v < V; ++v) {
        Add32(total[r][v], _mm256_madd_epi16(even[v], x_even));
        Add32(total[r][v], _mm256_madd_epi16(odd[v], x_odd));
      }
    }
  }
}

// The lines of these codes, further on in the panel.
inline void Prefetch(const std::byte* codes, int64_t step_bytes, int64_t steps) {
  for (int64_t step = 0; step < steps; ++step) {
    _mm_prefetch(reinterpret_cast<const char*>(codes + kPrefetchBytes + step * step_bytes),
                 _MM_HINT_T0);
  }
}

template <int V, int R, bool kInt4>
inline void MultiplyChunks(const std::byte* codes, int64_t chunk_bytes, int64_t chunks,
                           const int8_t* q, int64_t stride, bool prefetch, __m256i (&total)[R][V]) {
#pragma GCC unroll 1
  for (int64_t done = 0; done < chunks; done += kNarrowChunks) {
    const int64_t count = chunks - done < kNarrowChunks ? chunks - done : kNarrowChunks;
    if (kInt4) {
      if (prefetch) Prefetch(codes, chunk_bytes, count);
      MultiplyInt4<V, R>(codes, chunk_bytes, count, q, stride, total);
    } else {
      if (prefetch) Prefetch(codes, chunk_bytes / 2, 2 * count);
      MultiplyInt8<V, R>(codes, chunk_bytes, count, q, stride, total);
    }
    codes += kNarrowChunks * chunk_bytes;
    q += kNarrowChunks * stride * 8;
  }
}

// Where a tile lies in its panel and block.
struct TilePlace {
  int64_t first = 0;  // output
  int64_t row = 0;
};

template <int V, int R>
inline void AddToLeaf(const PanelArgs& args, TilePlace place, const Segment& segment, int64_t index,
                      const __m256i (&total)[R][V], const LeafStep& step) {
  const GroupScales<V> group(args, place.first, segment);
  const int64_t rows = args.block.rows;
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const int64_t row = place.row + r;
    const __m256 x_scale = _mm256_set1_ps(args.block.scales[index * rows + row]);
    const __m256 x_sum =
        _mm256_castsi256_ps(_mm256_set1_epi32(args.block.sums[index * rows + row]));
#pragma GCC unroll 6
    for (int v = 0; v < V; ++v) {
      const int64_t at = row * kPanelOutputs + place.first + v * kVector;
      const __m256 exact = _mm256_cvtepi32_ps(total[r][v]);
      const __m256 scale = _mm256_mul_ps(group.scale[v], x_scale);
      const __m256 before = step.first ? _mm256_setzero_ps() : _mm256_load_ps(step.leaf + at);
      __m256 sum = _mm256_add_ps(before, _mm256_mul_ps(exact, scale));
      if (args.asymmetric) sum = _mm256_add_ps(sum, _mm256_mul_ps(group.offset[v], x_sum));
      if (step.left != nullptr) {
        _mm256_store_ps(step.left + at, _mm256_add_ps(_mm256_load_ps(step.left + at), sum));
      } else {
        _mm256_store_ps(step.leaf + at, sum);
      }
    }
  }
}

template <int V, int R, bool kInt4>
void AddSegment(const PanelArgs& args, TilePlace place, const Segment& segment, int64_t index,
                const LeafStep& step) {
  const int64_t rows = args.block.rows;
  __m256i total[R][V];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const int32_t start = args.asymmetric ? 0 : args.block.sums[index * rows + place.row + r];
#pragma GCC unroll 6
    for (int v = 0; v < V; ++v) total[r][v] = _mm256_set1_epi32(start);
  }
  const std::byte* codes = args.panel + segment.codes_at * args.width + place.first * 4;
  const int64_t chunk_bytes = args.width * (kInt4 ? 4 : 8);
  const int64_t chunks = (segment.inputs + kChunkInputs - 1) / kChunkInputs;
  const int8_t* q = args.block.codes + segment.padded_begin * rows + place.row * 4;
  // The first rows ask for the line that this tile's codes of a chunk fill.
  const bool prefetch = place.row == 0 && rows >= (kInt4 ? kPrefetchRowsMin : 2 * kPrefetchRowsMin);
  MultiplyChunks<V, R, kInt4>(codes, chunk_bytes, chunks, q, rows, prefetch, total);
  AddToLeaf<V, R>(args, place, segment, index, total, step);
}

using SegmentFunction = void (*)(const PanelArgs& args, TilePlace place, const Segment& segment,
                                 int64_t index, const LeafStep& step);
template <int V, bool kInt4>
constexpr SegmentFunction kSegments[kTileRows] = {AddSegment<V, 1, kInt4>, AddSegment<V, 2, kInt4>,
                                                  AddSegment<V, 3, kInt4>, AddSegment<V, 4, kInt4>};

// The whole panel, segment by segment, so that it is read once, front to back.
template <bool kInt4>
void SumPanelInt8(const PanelArgs& args, float* slots) {
  const int64_t rows = args.block.rows;
  const bool whole = args.width == kPanelOutputs && rows == 1;
  SumLeaves(args, 0, args.width, slots,
            [&](const Segment& segment, int64_t index, const LeafStep& step) {
              if (whole) {
                kSegments<6, kInt4>[0](args, {0, 0}, segment, index, step);
                return;
              }
              for (int64_t first = 0; first < args.width; first += kVectorOutputs) {
                for (int64_t row = 0; row < rows; row += kTileRows) {
                  const int64_t tile = rows - row < kTileRows ? rows - row : kTileRows;
                  kSegments<2, kInt4>[tile - 1](args, {first, row}, segment, index, step);
                }
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
  } else if (args.format == WeightFormat::kInt4) {
    SumPanelInt8<true>(args, slots);
  } else {
    SumPanelInt8<false>(args, slots);
  }
  StoreRoots(args, slots);
}

}  // namespace octet::kernels
