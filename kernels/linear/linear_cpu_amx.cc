// Int8 activations on the tile unit (AMX): 16 rows x 64 inputs x 16 outputs an instruction. The
// integers are those of the other families, and the floats are added in their order: the same bits.
//
// The codes of a segment are spread to signed bytes once for all rows of the block, into L1. Then
// two bands of rows at a time are multiplied; while the tile unit works, the vector units scale the
// sums of the two bands before.
#include "kernels/linear/avx512.h"
#include "kernels/linear/leaf_sum.h"

namespace octet::kernels {
namespace {

constexpr int64_t kTileBytes = kTileRows * kTileInputs;
constexpr int64_t kSpanTiles = 8;  // of inputs whose codes are spread at once
constexpr int64_t kPrefetchBytes = 8192;
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

// std::min has external linkage.
constexpr int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }

constexpr bool IsInt4(Spread spread) {
  return spread == Spread::kInt4Signed || spread == Spread::kInt4Code;
}

template <Spread kSpread>
inline __m512i SpreadBytes(__m512i codes) {
  if (kSpread == Spread::kInt4Signed) return _mm512_sub_epi8(codes, _mm512_set1_epi8(8));
  if (kSpread == Spread::kInt8Signed) return _mm512_xor_si512(codes, _mm512_set1_epi8(-128));
  return codes;
}

// Chunks of V vectors of outputs to tiles [tile][V][16 quads of inputs][16 outputs][4].
template <Spread kSpread, int V>
[[gnu::noinline]] void SpreadCodes(const std::byte* codes, int64_t chunk_bytes, int64_t chunks,
                                   int8_t* to) {
  const __m512i mask = _mm512_set1_epi8(0x0f);
  constexpr int64_t kTileChunks = kTileInputs / kChunkInputs;
  for (int64_t chunk = 0; chunk < chunks; ++chunk, codes += chunk_bytes) {
    int8_t* tile = to + chunk / kTileChunks * V * kTileBytes + chunk % kTileChunks * 128;
    for (int64_t line = 0; line < chunk_bytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(codes + kPrefetchBytes + line), _MM_HINT_T0);
    }
    for (int v = 0; v < V; ++v, tile += kTileBytes) {
      const __m512i raw = _mm512_loadu_si512(codes + v * 64);
      const __m512i low = IsInt4(kSpread) ? _mm512_and_si512(raw, mask) : raw;
      const __m512i high = IsInt4(kSpread) ? _mm512_and_si512(_mm512_srli_epi16(raw, 4), mask)
                                           : _mm512_loadu_si512(codes + chunk_bytes / 2 + v * 64);
      _mm512_store_si512(tile, SpreadBytes<kSpread>(low));
      _mm512_store_si512(tile + 64, SpreadBytes<kSpread>(high));
    }
  }
  // What is left of the last tile meets rows that are zero there, and must only be finite: integers
  // are. It is cleared all the same, lest uninitialized memory decide on anything.
  for (; chunks % kTileChunks != 0; ++chunks) {
    int8_t* tile = to + chunks / kTileChunks * V * kTileBytes + chunks % kTileChunks * 128;
    for (int v = 0; v < V; ++v, tile += kTileBytes) {
      _mm512_store_si512(tile, _mm512_setzero_si512());
      _mm512_store_si512(tile + 64, _mm512_setzero_si512());
    }
  }
}

// Tiles 0..5 are sums [band][vector], 6 holds rows, 7 codes. The numbers must be literals.
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
#undef OCTET_MULTIPLY_TILE

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
  constexpr int64_t kTile = kTileRows * kVectorOutputs;
  _tile_stored(0, to, 64);
  if constexpr (V == 3) {
    _tile_stored(1, to + kTile, 64);
    _tile_stored(2, to + 2 * kTile, 64);
  }
  if constexpr (B == 2) {
    _tile_stored(3, to + V * kTile, 64);
    if constexpr (V == 3) {
      _tile_stored(4, to + 4 * kTile, 64);
      _tile_stored(5, to + 5 * kTile, 64);
    }
  }
}

// Outputs [first, first + 16 V) of a panel times a block of rows.
template <Spread kSpread, int V>
class PanelSum {
 public:
  PanelSum(const PanelArgs& args, int64_t first, float* slots)
      : args_(args),
        first_(first),
        slots_(slots),
        chunk_bytes_(args.width * (IsInt4(kSpread) ? 4 : 8)) {
    const Segment& last = args.segments[args.segment_count - 1];
    band_bytes_ = (last.tile_begin + Tiles(last.inputs)) * kTileBytes;
  }

  void Run() {
    SumLeaves(args_, first_, V * kVectorOutputs, slots_,
              [&](const Segment& segment, int64_t index, const LeafStep& step) {
                Add({&segment, index, step});
              });
  }

 private:
  struct Part {
    const Segment* segment = nullptr;
    int64_t index = 0;
    LeafStep step;
  };
  // Sums that are in `sums_`, not yet in their leaf.
  struct Waiting {
    Part part;
    int64_t row = 0;
    int64_t rows = 0;
  };

  static int64_t Tiles(int64_t inputs) { return (inputs + kTileInputs - 1) / kTileInputs; }

  // Segments wait until there is no room for more codes, or their leaf ends.
  void Add(const Part& part) {
    const int64_t tiles = Tiles(part.segment->inputs);
    if (tiles_ + tiles > kSpanTiles) MultiplyParts();
    if (tiles <= kSpanTiles) SpreadSpan(*part.segment, 0, part.segment->inputs);
    parts_[part_count_++] = part;
    tiles_ += tiles;
    if (part.segment->merges >= 0) MultiplyParts();
  }

  // Two bands of rows at a time take all segments that wait, while their leaf is in L1.
  void MultiplyParts() {
    for (int64_t row = 0; row < args_.block.rows; row += kBandsMax * kTileRows) {
      const int64_t rows = Least(kBandsMax * kTileRows, args_.block.rows - row);
      const int8_t* codes = spread_;
      for (int64_t i = 0; i < part_count_; ++i) {
        if (rows > kTileRows) {
          MultiplyBands<2>({parts_[i], row, rows}, codes);
        } else {
          MultiplyBands<1>({parts_[i], row, rows}, codes);
        }
        codes += Tiles(parts_[i].segment->inputs) * V * kTileBytes;
      }
    }
    Scale();
    part_count_ = 0;
    tiles_ = 0;
  }

  void SpreadSpan(const Segment& segment, int64_t begin, int64_t inputs) {
    const std::byte* codes = args_.panel + segment.codes_at * args_.width + first_ * 4 +
                             begin / kChunkInputs * chunk_bytes_;
    SpreadCodes<kSpread, V>(codes, chunk_bytes_, (inputs + kChunkInputs - 1) / kChunkInputs,
                            spread_ + tiles_ * V * kTileBytes);
  }

  // A segment with more inputs than there is room for is alone, and spread here, in turns.
  template <int B>
  [[gnu::noinline]] void MultiplyBands(const Waiting& next, const int8_t* codes) {
    const Segment& segment = *next.part.segment;
    const int8_t* rows =
        args_.block.codes + next.row / kTileRows * band_bytes_ + segment.tile_begin * kTileBytes;
    constexpr int64_t kSpan = kSpanTiles * kTileInputs;
    ClearTiles<V, B>();
    for (int64_t begin = 0; begin < segment.inputs; begin += kSpan) {
      if (segment.inputs > kSpan) {
        tiles_ = 0;
        SpreadSpan(segment, begin, Least(kSpan, segment.inputs - begin));
      }
      MultiplyTiles<kSpread, V, B>(rows + begin / kTileInputs * kTileBytes, band_bytes_, codes,
                                   Tiles(Least(kSpan, segment.inputs - begin)));
    }
    Scale();
    StoreTiles<V, B>(sums_);
    waiting_ = next;
  }

  void Scale() {
    if (waiting_.rows == 0) return;
    if (waiting_.part.step.left != nullptr) {
      ScaleBands<true>();
    } else {
      ScaleBands<false>();
    }
    waiting_.rows = 0;
  }

  // As AddToLeaf of linear_cpu_avx512.cc, which adds +0 where there is nothing to join: no sum is
  // -0.
  template <bool kJoins>
  [[gnu::noinline]] void ScaleBands() {
    const GroupScales<V> group(args_, first_, *waiting_.part.segment);
    const LeafStep& step = waiting_.part.step;
    const __mmask16 begun = step.first ? 0 : 0xffff;
    for (int64_t done = 0; done < waiting_.rows; done += kTileRows) {
      const int64_t row = waiting_.row + done;
      const int64_t rows = Least(kTileRows, waiting_.rows - done);
      const int64_t scale_at = row * args_.segment_count + waiting_.part.index * kTileRows;
      const float* x_scale = args_.block.scales + scale_at;
      const float* x_sum = reinterpret_cast<const float*>(args_.block.sums) + scale_at;
      const int32_t* sums = sums_ + done * V * kVectorOutputs;
      const float* leaf = step.leaf + row * kPanelOutputs + first_;
      float* to = (kJoins ? step.left : step.leaf) + row * kPanelOutputs + first_;
      for (int64_t i = 0; i < rows; ++i) {
        const __m512 scale_of_row = _mm512_set1_ps(x_scale[i]);
        const __m512 sum_of_row = _mm512_set1_ps(kIsAsymmetric ? x_sum[i] : 0);
#pragma GCC unroll 3
        for (int v = 0; v < V; ++v) {
          const int64_t at = i * kPanelOutputs + v * kVectorOutputs;
          const __m512 exact =
              _mm512_cvtepi32_ps(_mm512_load_si512(sums + (v * kTileRows + i) * kVectorOutputs));
          const __m512 scale = _mm512_mul_ps(group.scale[v], scale_of_row);
          const __m512 before = _mm512_maskz_load_ps(begun, leaf + at);
          __m512 sum = _mm512_add_ps(before, _mm512_mul_ps(exact, scale));
          if (kIsAsymmetric) sum = _mm512_add_ps(sum, _mm512_mul_ps(group.offset[v], sum_of_row));
          if (kJoins) sum = _mm512_add_ps(_mm512_load_ps(to + at), sum);
          _mm512_store_ps(to + at, sum);
        }
      }
    }
  }

  static constexpr bool kIsAsymmetric =
      kSpread == Spread::kInt4Code || kSpread == Spread::kInt8Unsigned;

  const PanelArgs& args_;
  const int64_t first_;
  float* const slots_;
  const int64_t chunk_bytes_;
  int64_t band_bytes_ = 0;
  Waiting waiting_;
  Part parts_[kSpanTiles];
  int64_t part_count_ = 0;
  int64_t tiles_ = 0;  // of the codes of parts_
  alignas(64) int8_t spread_[kSpanTiles * V * kTileBytes];
  alignas(64) int32_t sums_[kBandsMax * V * kTileRows * kVectorOutputs];
};

template <Spread kSpread>
void SumPanel(const PanelArgs& args, float* slots) {
  if (args.width == kPanelOutputs) return PanelSum<kSpread, 3>(args, 0, slots).Run();
  for (int64_t first = 0; first < args.width; first += kVectorOutputs) {
    PanelSum<kSpread, 1>(args, first, slots).Run();
  }
}

// Writes one row's codes of one segment, zeros up to the end of its last tile, and returns their
// sum.
int32_t QuantizeRow(const float* x, int64_t inputs, float inverse, int8_t* to) {
  __m512i sum = _mm512_setzero_si512();
  for (int64_t k = 0; k < inputs; k += kTileInputs, to += kTileBytes) {
    for (int64_t i = 0; i < kTileInputs; i += 16) {
      __m512i q = _mm512_setzero_si512();
      if (k + i < inputs && inverse != 0) {  // infinity times 0 is no number
        const __m512 values = LoadInputs(x + k + i, inputs - k - i);
        q = _mm512_cvtps_epi32(_mm512_mul_ps(values, _mm512_set1_ps(inverse)));
      }
      sum = _mm512_add_epi32(sum, q);
      _mm_store_si128(reinterpret_cast<__m128i*>(to + i), _mm512_cvtepi32_epi8(q));
    }
  }
  return _mm512_reduce_add_epi32(sum);
}

}  // namespace

void QuantizeAmx(const QuantizeArgs& args) {
  for (int64_t index = args.begin; index < args.end; ++index) {
    const Segment& segment = args.segments[index];
    int8_t* codes = args.block.codes + segment.tile_begin * kTileBytes;
    for (int64_t row = 0; row < kTileRows; ++row) {
      const bool is_row = row < args.block.rows;
      const float* x = args.x + (is_row ? row * args.x_stride + segment.begin : 0);
      const RowScale scale = is_row ? ScaleOf(x, segment.inputs) : RowScale{0, 0};
      const int32_t sum = QuantizeRow(x, segment.inputs, scale.inverse, codes + row * kTileInputs);
      const float x_sum = scale.scale * static_cast<float>(sum);
      args.block.scales[index * kTileRows + row] = scale.scale;
      __builtin_memcpy(&args.block.sums[index * kTileRows + row], &x_sum, 4);
    }
  }
}

void ConfigureTiles() {
  static constexpr TileConfig kConfig;  // in memory: the intrinsic says that it reads 8 bytes of it
  _tile_loadconfig(&kConfig);
}

void ReleaseTiles() { _tile_release(); }

void SumPanelAmx(const PanelArgs& args, float* slots) {
  const bool is_int4 = args.format == WeightFormat::kInt4;
  if (is_int4 && !args.asymmetric) SumPanel<Spread::kInt4Signed>(args, slots);
  if (is_int4 && args.asymmetric) SumPanel<Spread::kInt4Code>(args, slots);
  if (!is_int4 && !args.asymmetric) SumPanel<Spread::kInt8Signed>(args, slots);
  if (!is_int4 && args.asymmetric) SumPanel<Spread::kInt8Unsigned>(args, slots);
  StoreRoots(args, slots);
}

}  // namespace octet::kernels
