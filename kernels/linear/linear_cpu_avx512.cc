// AVX-512 VNNI: int8 activations. A tile is V vectors of 16 outputs times R rows; its V * R int32
// accumulators live in registers over a segment and are then added, scaled, to the leaf in L1.
// Per 64-byte load of int4 codes and row: two vpdpbusd and two broadcasts from the row block.
#include "kernels/linear/avx512.h"
#include "kernels/linear/leaf_sum.h"

namespace octet::kernels {
namespace {

constexpr int kPrefetchRowsMin = 3;

// A tile of one or two rows sums low and high nibbles apart, lest it wait for its own additions.
// High nibbles are then multiplied where they are, times 16, and their sum is divided: a segment of
// kSegmentInputsMax still fits.
template <int V, int R>
struct Tile {
  static constexpr int kParts = R <= 2 ? 2 : 1;
  __m512i sum[kParts][R][V];
};

template <int V, int R>
inline void MultiplyQuad(const __m512i (&codes)[V], const int8_t* q, __m512i (&sum)[R][V]) {
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

template <int V, int R, bool kInt4>
inline void MultiplyChunk(const std::byte* codes, int64_t chunk_bytes, const int8_t* q,
                          Tile<V, R>& tile) {
  constexpr int kHigh = Tile<V, R>::kParts - 1;
  const __m512i low_mask = _mm512_set1_epi8(0x0f);
  const __m512i high_mask = kHigh == 1 ? _mm512_set1_epi8(static_cast<char>(0xf0)) : low_mask;
  __m512i low[V], high[V];
  for (int v = 0; v < V; ++v) {
    __m512i raw = _mm512_loadu_si512(codes + v * 64);
    asm("" : "+v"(raw));  // else it is loaded twice
    low[v] = kInt4 ? _mm512_and_si512(raw, low_mask) : raw;
    if (kInt4) {
      high[v] = _mm512_and_si512(kHigh == 1 ? raw : _mm512_srli_epi16(raw, 4), high_mask);
    } else {
      high[v] = _mm512_loadu_si512(codes + chunk_bytes / 2 + v * 64);
    }
  }
  MultiplyQuad<V, R>(low, q, tile.sum[0]);
  MultiplyQuad<V, R>(high, q + R * 4, tile.sum[kHigh]);
}

template <int V, int R, bool kInt4, Prefetch kPrefetch>
inline void MultiplyChunks(const std::byte* codes, int64_t chunk_bytes, int64_t chunks,
                           const int8_t* q, Tile<V, R>& tile) {
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    PrefetchChunk<kPrefetch>(codes, chunk_bytes);
    MultiplyChunk<V, R, kInt4>(codes, chunk_bytes, q, tile);
    codes += chunk_bytes;
    q += R * 8;
  }
}

// Those of two panels, side by side.
template <int R, bool kInt4>
inline void MultiplyPairs(const std::byte* codes, int64_t pair_bytes, int64_t chunks,
                          const int8_t* q, Tile<3, R> (&tiles)[2]) {
  constexpr int64_t kChunkBytes = kPanelOutputs * (kInt4 ? 4 : 8);
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
#pragma GCC unroll 2
    for (int64_t i = 0; i < 2; ++i) {
      PrefetchChunk<Prefetch::kPair>(codes + i * pair_bytes, kChunkBytes);
      MultiplyChunk<3, R, kInt4>(codes + i * pair_bytes, kChunkBytes, q, tiles[i]);
    }
    codes += kChunkBytes;
    q += R * 8;
  }
}

template <int V, int R, bool kInt4>
inline void AddToLeaf(const PanelArgs& args, int64_t first, const Segment& segment, int64_t index,
                      const Tile<V, R>& tile, const LeafStep& step) {
  const GroupScales<V> group(args, first, segment);
  const __mmask16 begun = step.first ? 0 : 0xffff;
  const __mmask16 joins = step.left != nullptr ? 0xffff : 0;
  float* to = step.left != nullptr ? step.left : step.leaf;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const __m512 x_scale = _mm512_set1_ps(args.block.scales[index * R + r]);
    const __m512 x_sum = _mm512_castsi512_ps(_mm512_set1_epi32(args.block.sums[index * R + r]));
    const int64_t at = r * kPanelOutputs + first;
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
      __m512i total = tile.sum[0][r][v];
      if (Tile<V, R>::kParts == 2) {
        const __m512i high = tile.sum[1][r][v];
        total = _mm512_add_epi32(total, kInt4 ? _mm512_srai_epi32(high, 4) : high);
      }
      const __m512 exact = _mm512_cvtepi32_ps(total);
      const __m512 scale = _mm512_mul_ps(group.scale[v], x_scale);
      const __m512 before = _mm512_maskz_load_ps(begun, step.leaf + at + v * 16);
      __m512 sum = _mm512_add_ps(before, _mm512_mul_ps(exact, scale));
      if (args.asymmetric) sum = _mm512_add_ps(sum, _mm512_mul_ps(group.offset[v], x_sum));
      sum = _mm512_add_ps(_mm512_maskz_load_ps(joins, to + at + v * 16), sum);
      _mm512_store_ps(to + at + v * 16, sum);
    }
  }
}

template <int V, int R>
inline void Begin(const PanelArgs& args, int64_t index, Tile<V, R>& tile) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const int32_t start = args.asymmetric ? 0 : args.block.sums[index * R + r];
    for (int v = 0; v < V; ++v) {
      tile.sum[0][r][v] = _mm512_set1_epi32(start);
      if (Tile<V, R>::kParts == 2) tile.sum[1][r][v] = _mm512_setzero_si512();
    }
  }
}

template <int V, int R, bool kInt4>
inline void AddSegment(const PanelArgs& args, int64_t first, const Segment& segment, int64_t index,
                       const LeafStep& step) {
  Tile<V, R> tile;
  Begin(args, index, tile);
  const std::byte* codes = args.panel + segment.codes_at * args.width + first * 4;
  const int64_t width = V == 3 ? kPanelOutputs : args.width;  // known when compiled, or nearly
  const int64_t chunk_bytes = width * (kInt4 ? 4 : 8);
  const int64_t chunks = (segment.inputs + kChunkInputs - 1) / kChunkInputs;
  const int8_t* q = args.block.codes + segment.padded_begin * R;
  constexpr bool kManyRows = R >= (kInt4 ? kPrefetchRowsMin : 2 * kPrefetchRowsMin);
  if (args.staged_prefetch) {
    PrefetchChunk<Prefetch::kStaged>(codes - 128, 128);
    MultiplyChunks<V, R, kInt4, Prefetch::kStaged>(codes, chunk_bytes, chunks, q, tile);
  } else {
    constexpr Prefetch kPrefetch = kManyRows ? Prefetch::kFar : Prefetch::kNone;
    MultiplyChunks<V, R, kInt4, kPrefetch>(codes, chunk_bytes, chunks, q, tile);
  }
  AddToLeaf<V, R, kInt4>(args, first, segment, index, tile, step);
}

// Outputs [first, first + 16 V) of a panel times a block of R rows.
template <int V, int R, bool kInt4>
void SumTile(const PanelArgs& args, int64_t first, float* slots) {
  SumLeaves(args, first, V * 16, slots,
            [&](const Segment& segment, int64_t index, const LeafStep& step) {
              AddSegment<V, R, kInt4>(args, first, segment, index, step);
            });
}

// A slot holds the rows of the first panel's sums, then those of the second's.
static_assert(2 * kPairRowsMax <= kBlockRows);

template <int R, bool kInt4>
void SumPair(const PanelArgs& args, float* slots) {
  constexpr int64_t kSecond = R * kPanelOutputs;
  const PanelArgs panels[2] = {args, SecondOfPair(args)};
  PanelArgs both = args;
  both.block.rows = 2 * R;
  SumLeaves(
      both, 0, kPanelOutputs, slots,
      [&](const Segment& segment, int64_t index, const LeafStep& step) {
        Tile<3, R> tiles[2];
        Begin(args, index, tiles[0]);
        Begin(args, index, tiles[1]);
        const int64_t chunks = (segment.inputs + kChunkInputs - 1) / kChunkInputs;
        MultiplyPairs<R, kInt4>(args.panel + segment.codes_at * kPanelOutputs, args.pair_bytes,
                                chunks, args.block.codes + segment.padded_begin * R, tiles);
        for (int i = 0; i < 2; ++i) {
          AddToLeaf<3, R, kInt4>(panels[i], 0, segment, index, tiles[i], step.From(i * kSecond));
        }
      });
}

using TileFunction = void (*)(const PanelArgs& args, int64_t first, float* slots);
template <int V, bool kInt4>
constexpr TileFunction kTiles[kBlockRows] = {
    SumTile<V, 1, kInt4>, SumTile<V, 2, kInt4>, SumTile<V, 3, kInt4>, SumTile<V, 4, kInt4>,
    SumTile<V, 5, kInt4>, SumTile<V, 6, kInt4>, SumTile<V, 7, kInt4>, SumTile<V, 8, kInt4>};

template <bool kInt4>
void SumPanelInt8(const PanelArgs& args, float* slots) {
  const int64_t rows = args.block.rows;
  if (args.pair_bytes != 0) {
    rows == 1 ? SumPair<1, kInt4>(args, slots) : SumPair<2, kInt4>(args, slots);
    return;
  }
  if (args.width == kPanelOutputs) {
    kTiles<3, kInt4>[rows - 1](args, 0, slots);
    return;
  }
  for (int64_t first = 0; first < args.width; first += kVectorOutputs) {
    kTiles<1, kInt4>[rows - 1](args, first, slots);
  }
}

// Writes one row's codes of one segment and returns their sum.
int32_t QuantizeRow(const float* x, const Segment& segment, float inverse, int64_t rows,
                    int8_t* to) {
  __m512i sum = _mm512_setzero_si512();
  const int64_t quads = (segment.inputs + kChunkInputs - 1) / kChunkInputs * 2;
  for (int64_t quad = 0; quad < quads; quad += 4, to += rows * 16) {
    const __m512 values = LoadInputs(x + quad * 4, segment.inputs - quad * 4);
    __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(values, _mm512_set1_ps(inverse)));
    if (inverse == 0) q = _mm512_setzero_si512();  // infinity times 0 is no number
    sum = _mm512_add_epi32(sum, q);
    const __m128i bytes = _mm512_cvtepi32_epi8(q);
    const int32_t parts[4] = {_mm_cvtsi128_si32(bytes), _mm_extract_epi32(bytes, 1),
                              _mm_extract_epi32(bytes, 2), _mm_extract_epi32(bytes, 3)};
    const int64_t left = quads - quad;  // even, as chunks are two quads
    __builtin_memcpy(to, &parts[0], 4);
    __builtin_memcpy(to + rows * 4, &parts[1], 4);
    if (left < 4) break;
    __builtin_memcpy(to + rows * 8, &parts[2], 4);
    __builtin_memcpy(to + rows * 12, &parts[3], 4);
  }
  return _mm512_reduce_add_epi32(sum);
}

}  // namespace

void QuantizeAvx512(const QuantizeArgs& args) { QuantizeRows(args, ScaleOf, QuantizeRow); }

void SumPanelAvx512(const PanelArgs& args, float* slots) {
  if (!args.int8_activations) {
    SumPanelFloatAvx512(args, slots);
  } else if (args.format == WeightFormat::kInt4) {
    SumPanelInt8<true>(args, slots);
  } else {
    SumPanelInt8<false>(args, slots);
  }
  StoreRoots(args, slots);
}

}  // namespace octet::kernels
