// AVX-512 VNNI: int8 activations, any number of rows. Per 64-byte load of int4 codes and row: two
// vpdpbusd and two broadcasts from the row block. The first rows of a block leave the int4 codes of
// a segment spread, one in each byte, for the others.
#include "kernels/linear/avx512_int8.h"
#include "kernels/linear/row_tiles.h"

namespace octet::kernels {
namespace {

constexpr int kPrefetchRowsMin = 3;
constexpr int64_t kSpreadChunks = 32;  // of inputs, whose codes are left spread

// One segment of the rows times V vectors of outputs.
struct SegmentArgs : RowTiles {
  using RowTiles::RowTiles;

  const std::byte* codes = nullptr;  // packed
  int64_t chunk_bytes = 0;
  int64_t chunks = 0;
  uint8_t* spread = nullptr;  // [chunks][2][V][64]
  bool staged_prefetch = false;
};

template <int V, int R, bool kInt4, Codes kCodes, Prefetch kPrefetch>
[[gnu::always_inline]] inline void MultiplyChunks(const SegmentArgs& args, Tile<V, R>& tile) {
  // Known when compiled, or nearly.
  const int64_t chunk_bytes = V == 3 ? kPanelOutputs * (kInt4 ? 4 : 8) : args.chunk_bytes;
  const int64_t quad_bytes = kInt4 ? 0 : chunk_bytes / 2;
  const std::byte* codes = args.codes;
  uint8_t* spread = args.spread;
  const int8_t* q = args.q + args.first_input * R;
  for (int64_t chunk = 0; chunk < args.chunks; ++chunk) {
    PrefetchLines<kPrefetch>(codes, V * 64);
    if (!kInt4) PrefetchLines<kPrefetch>(codes + quad_bytes, V * 64);
    MultiplyChunk<V, R, kInt4, kCodes>(codes, quad_bytes, spread, q, tile);
    codes += chunk_bytes;
    spread += 2 * V * 64;
    q += R * kChunkInputs;
  }
}

template <int V, int R, bool kInt4, bool kAsymmetric, Codes kCodes>
void AddTile(const SegmentArgs& args, const GroupScales<V>& group) {
  const int64_t at = args.index * R;
  const TileEnd end = {args.x_scale + at, args.x_sum + at, args.to};
  Tile<V, R> tile;
  BeginTile<V, R, kAsymmetric>(end.x_sum, tile);
  constexpr bool kManyRows = R >= (kInt4 ? kPrefetchRowsMin : 2 * kPrefetchRowsMin);
  if constexpr (kCodes == Codes::kSpread) {
    MultiplyChunks<V, R, kInt4, kCodes, Prefetch::kNone>(args, tile);
  } else if (args.staged_prefetch) {
    PrefetchLines<Prefetch::kStaged>(args.codes - 128, 128);  // where the next scales will be
    MultiplyChunks<V, R, kInt4, kCodes, Prefetch::kStaged>(args, tile);
  } else {
    MultiplyChunks<V, R, kInt4, kCodes, kManyRows ? Prefetch::kFar : Prefetch::kNone>(args, tile);
  }
  EndTile<V, R, kInt4, kAsymmetric, kCodes>(end, group, tile);
}

template <int V>
using TileFunction = void (*)(const SegmentArgs& args, const GroupScales<V>& group);
template <int V, bool kInt4, bool kAsymmetric, Codes kCodes>
constexpr TileFunction<V> kTiles[kBlockRows] = {
    AddTile<V, 1, kInt4, kAsymmetric, kCodes>, AddTile<V, 2, kInt4, kAsymmetric, kCodes>,
    AddTile<V, 3, kInt4, kAsymmetric, kCodes>, AddTile<V, 4, kInt4, kAsymmetric, kCodes>,
    AddTile<V, 5, kInt4, kAsymmetric, kCodes>, AddTile<V, 6, kInt4, kAsymmetric, kCodes>,
    AddTile<V, 7, kInt4, kAsymmetric, kCodes>, AddTile<V, 8, kInt4, kAsymmetric, kCodes>};

// All tiles of rows.
template <int V, bool kInt4, bool kAsymmetric>
inline void AddTiles(SegmentArgs args, const GroupScales<V>& group) {
  constexpr int R = kBlockRows;
  if (args.rows <= R) {
    return kTiles<V, kInt4, kAsymmetric, Codes::kPacked>[args.rows - 1](args, group);
  }
  if (kInt4 && args.chunks > kSpreadChunks) {
    for (; args.rows > 0; args.rows -= R, args.ToNextTile()) {
      const int64_t rows = args.rows < R ? args.rows : R;
      kTiles<V, kInt4, kAsymmetric, Codes::kPacked>[rows - 1](args, group);
    }
    return;
  }
  AddTile<V, R, kInt4, kAsymmetric, Codes::kPackedToKeep>(args, group);
  args.ToNextTile();
  for (args.rows -= R; args.rows > R; args.rows -= R, args.ToNextTile()) {
    AddTile<V, R, kInt4, kAsymmetric, Codes::kSpread>(args, group);
  }
  kTiles<V, kInt4, kAsymmetric, Codes::kSpread>[args.rows - 1](args, group);
}

// Outputs [first, first + 16 V) of a panel, segment by segment.
template <int V, bool kInt4, bool kAsymmetric>
void SumOutputs(const PanelArgs& panel, int64_t first, float* slots) {
  alignas(64) uint8_t spread[kSpreadChunks * 2 * V * 64];
  SegmentArgs args(panel, kBlockRows);
  args.chunk_bytes = panel.width * (kInt4 ? 4 : 8);
  args.spread = spread;
  args.staged_prefetch = panel.staged_prefetch;
  SumLeaves(panel, first, V * kVectorOutputs, slots,
            [&](const Segment& segment, int64_t index, const LeafStep& step) {
              args.codes = panel.panel + segment.codes_at * panel.width + first * 4;
              args.chunks = ChunksOf(segment);
              args.SetSegment(segment, index);
              args.to = step.From(first);
              AddTiles<V, kInt4, kAsymmetric>(args, GroupScales<V>(panel, first, segment));
            });
}

template <bool kInt4, bool kAsymmetric>
void SumPanel(const PanelArgs& args, float* slots) {
  if (args.width == kPanelOutputs) return SumOutputs<3, kInt4, kAsymmetric>(args, 0, slots);
  for (int64_t first = 0; first < args.width; first += kVectorOutputs) {
    SumOutputs<1, kInt4, kAsymmetric>(args, first, slots);
  }
}

// Writes one row's codes of one segment and returns their sum.
int32_t QuantizeRow(const float* x, const Segment& segment, float inverse, int64_t rows,
                    int8_t* to) {
  __m512i sum = _mm512_setzero_si512();
  const int64_t quads = ChunksOf(segment) * 2;
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
  } else if (args.pair_bytes != 0) {
    SumPairAvx512(args, slots);
  } else if (args.format == WeightFormat::kInt4) {
    args.asymmetric ? SumPanel<true, true>(args, slots) : SumPanel<true, false>(args, slots);
  } else {
    args.asymmetric ? SumPanel<false, true>(args, slots) : SumPanel<false, false>(args, slots);
  }
  StoreRoots(args, slots);
}

}  // namespace octet::kernels
