// Int8 activations on the tile unit (AMX): 16 rows x 64 inputs x 16 outputs an instruction. The
// integers are those of the other families, and the floats are added in their order: the same bits.
//
// Three things are done to a segment, one after the other: its codes are spread to signed bytes, in
// L1 and once for all rows of the block; two bands of rows at a time are multiplied; and the sums
// are scaled. A core does not look far enough ahead to overlap them, so the instructions of three
// segments take turns: one is spread while the one before is multiplied and the one before that is
// scaled. Memory is then asked for codes all the time.
#include <utility>

#include "kernels/linear/amx_tiles.h"
#include "kernels/linear/avx512.h"
#include "kernels/linear/leaf_sum.h"

namespace octet::kernels {
namespace {

// Of inputs whose codes wait, spread, for all bands of the block: more of them keep leaves in L1
// where there are many rows, fewer begin a panel sooner.
constexpr int64_t kGroupTiles = 4;
constexpr int64_t kGroupTilesOfFewRows = 2;
constexpr int64_t kPairRows = kBandsMax * kTileRows;
// What takes turns: a segment of two whole tiles.
constexpr int64_t kRegularTiles = 2;
constexpr int64_t kRegularInputs = kRegularTiles * kTileInputs;
static_assert(kRegularTiles * kTileChunks == kTileSteps && kTileRows == kTileSteps);

// std::min has external linkage.
constexpr int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t TilesOf(int64_t inputs) { return (inputs + kTileInputs - 1) / kTileInputs; }

struct Part {
  const Segment* segment = nullptr;
  int64_t index = 0;
  LeafStep step;
};

// Segments whose codes are spread together, or one that is too long for that.
struct Group {
  Part parts[kGroupTiles];
  int64_t count = 0;
  int64_t tiles = 0;
  int64_t spread = 0;        // parts that are spread
  int64_t spread_tiles = 0;  // and their tiles
  int8_t* codes = nullptr;   // [kGroupTiles][V] tiles
};

// Outputs [first, first + 16 V) of a panel times a block of rows.
template <Spread kSpread, int V>
class PanelSum {
 public:
  PanelSum(const PanelArgs& args, int64_t first, float* slots)
      : args_(args),
        first_(first),
        chunk_bytes_(args.width * (IsInt4(kSpread) ? 4 : 8)),
        band_bytes_(BandBytes(args)),
        walk_(slots, args.slot_floats) {}

  void Run() {
    Group groups[2];
    groups[0].codes = spread_[0];
    groups[1].codes = spread_[1];
    Group* group = &groups[0];
    next_ = &groups[1];
    Gather(next_);
    SpreadRest(next_);
    while (next_->count > 0) {
      Group* const done = group;
      group = next_;
      next_ = done;
      Gather(next_);
      for (int64_t row = 0; row < args_.block.rows; row += kPairRows) MultiplyPair(*group, row);
      SpreadRest(next_);
    }
    Scale();
  }

 private:
  // A part times a pair of bands.
  struct Unit {
    Part part;
    int64_t row = 0;
    int64_t rows = 0;  // 0: there is none
    const int32_t* sums = nullptr;
  };

  // Of the weights and of a row. Indices are literals wherever these are used, or GCC keeps them in
  // memory.
  struct Factors {
    __m512 scale[3];
    __m512 offset[3];
  };
  struct RowFactors {
    __m512 scale;
    __m512 sum;
  };

  // Where scaling a unit finds and leaves what it needs.
  struct Scaling {
    __mmask16 begun;
    int64_t rows;
    int64_t band_scales;  // from a band's scales to the next one's
    const int32_t* sums;
    const float* x_scale;
    const float* x_sum;
    const float* leaf;
    float* to;
  };

  static constexpr bool kIsAsymmetric =
      kSpread == Spread::kInt4Code || kSpread == Spread::kInt8Unsigned;

  static int64_t BandBytes(const PanelArgs& args) {
    const Segment& last = args.segments[args.segment_count - 1];
    return (last.tile_begin + TilesOf(last.inputs)) * kTileBytes;
  }

  static bool IsRegular(const Part& part) { return part.segment->inputs == kRegularInputs; }

  void Gather(Group* group) {
    const int64_t room = args_.block.rows > kPairRows ? kGroupTiles : kGroupTilesOfFewRows;
    group->count = 0;
    group->tiles = 0;
    group->spread = 0;
    group->spread_tiles = 0;
    while (segment_ < args_.segment_count) {
      const Segment& segment = args_.segments[segment_];
      const int64_t tiles = TilesOf(segment.inputs);
      if (group->count > 0 && group->tiles + tiles > room) return;
      group->parts[group->count++] = {&segment, segment_++, walk_.Next(segment)};
      group->tiles += tiles;
    }
  }

  const std::byte* CodesOf(const Segment& segment) const {
    return args_.panel + segment.codes_at * args_.width + first_ * 4;
  }

  void SpreadSpan(const Segment& segment, int64_t begin, int64_t inputs, int8_t* to) const {
    SpreadCodes<kSpread, V>(CodesOf(segment) + begin / kChunkInputs * chunk_bytes_, chunk_bytes_,
                            (inputs + kChunkInputs - 1) / kChunkInputs, to);
  }

  // The place of the group's next part, which counts as spread from now on.
  static int8_t* TakePlace(Group* group) {
    int8_t* const place = group->codes + group->spread_tiles * V * kTileBytes;
    group->spread_tiles += TilesOf(group->parts[group->spread++].segment->inputs);
    return place;
  }

  void SpreadRest(Group* group) const {
    if (group->tiles > kGroupTiles) return;
    while (group->spread < group->count) {
      const Segment& segment = *group->parts[group->spread].segment;
      SpreadSpan(segment, 0, segment.inputs, TakePlace(group));
    }
  }

  void MultiplyPair(const Group& group, int64_t row) {
    const int64_t rows = Least(kPairRows, args_.block.rows - row);
    const int8_t* codes = group.codes;
    for (int64_t i = 0; i < group.count; ++i) {
      const Unit unit = {group.parts[i], row, rows, sums_[turn_]};
      if (rows > kTileRows) {
        Multiply<2>(unit, codes);
      } else {
        Multiply<1>(unit, codes);
      }
      waiting_ = unit;
      turn_ ^= 1;
      codes += TilesOf(group.parts[i].segment->inputs) * V * kTileBytes;
    }
  }

  template <int B>
  void Multiply(const Unit& unit, const int8_t* codes) {
    const int8_t* rows = args_.block.codes + unit.row / kTileRows * band_bytes_ +
                         unit.part.segment->tile_begin * kTileBytes;
    if (V == 3 && IsRegular(unit.part)) {
      if (waiting_.rows == 0) waiting_.part = unit.part;  // no row of it is scaled
      const bool spreads = next_->spread < next_->count && IsRegular(next_->parts[next_->spread]);
      if (spreads) return TakeTurns<B, true>(rows, codes);
      if (B == 2) return TakeTurns<B, false>(rows, codes);
    }
    MultiplyAlone<B>(*unit.part.segment, rows, codes);
  }

  // A segment of more inputs than there is room for is spread here, in turns.
  template <int B>
  [[gnu::noinline]] void MultiplyAlone(const Segment& segment, const int8_t* rows,
                                       const int8_t* codes) {
    constexpr int64_t kSpan = kGroupTiles * kTileInputs;
    ClearTiles<V, B>();
    for (int64_t begin = 0; begin < segment.inputs; begin += kSpan) {
      const int64_t inputs = Least(kSpan, segment.inputs - begin);
      if (segment.inputs > kSpan) SpreadSpan(segment, begin, inputs, const_cast<int8_t*>(codes));
      MultiplyTiles<kSpread, V, B>(rows + begin / kTileInputs * kTileBytes, band_bytes_, codes,
                                   TilesOf(inputs));
    }
    Scale();
    StoreTiles<V, B>(sums_[turn_]);
  }

  template <int B, bool kSpreads>
  void TakeTurns(const int8_t* rows, const int8_t* codes) {
    const std::byte* from = nullptr;
    int8_t* to = nullptr;
    if (kSpreads) {
      from = CodesOf(*next_->parts[next_->spread].segment);
      to = TakePlace(next_);
    }
    constexpr auto kSteps = std::make_integer_sequence<int, kTileSteps>();
    if (waiting_.part.step.left != nullptr) {
      RunSteps<B, kSpreads, true>(rows, codes, from, to, kSteps);
    } else {
      RunSteps<B, kSpreads, false>(rows, codes, from, to, kSteps);
    }
    Join();
  }

  // What is multiplied and what is spread meanwhile.
  struct Turns {
    const int8_t* rows;
    int64_t band_bytes;
    const int8_t* codes;
    int32_t* sums;
    const std::byte* from;
    int8_t* to;
  };

  template <int B, bool kSpreads, bool kJoins, int... kSteps>
  [[gnu::noinline]] void RunSteps(const int8_t* rows, const int8_t* codes, const std::byte* from,
                                  int8_t* to, std::integer_sequence<int, kSteps...>) {
    const Scaling scaling = ScalingOf(waiting_);
    const Factors factors = FactorsOf(*waiting_.part.segment);
    const Turns turns = {rows, band_bytes_, codes, sums_[turn_], from, to};
    asm volatile("" ::: "memory");  // GCC's intrinsics do not say that they touch memory
    (Step<B, kSpreads, kJoins, kSteps>(turns, scaling, factors), ...);
    asm volatile("" ::: "memory");
  }

  template <int B, bool kSpreads, bool kJoins, int kStep>
  [[gnu::always_inline]] static inline void Step(const Turns& turns, const Scaling& scaling,
                                                 const Factors& factors) {
    constexpr int64_t kChunkBytes = kPanelOutputs * (IsInt4(kSpread) ? 4 : 8);
    constexpr int64_t kLine = kStep / kTileChunks * V * kTileBytes + kStep % kTileChunks * 128;
    if constexpr (B == 1) StepOneBand<kSpread, kStep>(turns.rows, turns.codes, turns.sums);
    if constexpr (B == 2) {
      StepTwoBands<kSpread, kStep>(turns.rows, turns.band_bytes, turns.codes, turns.sums);
    }
    if constexpr (kSpreads) {
      SpreadChunk<kSpread, V>(turns.from + kStep * kChunkBytes, kChunkBytes, turns.to + kLine);
    }
    ScaleRow<kJoins>(scaling, factors, 0, kStep);
    ScaleRow<kJoins>(scaling, factors, 1, kStep);
  }

  void Scale() {
    if (waiting_.rows == 0) return;
    asm volatile("" ::: "memory");
    if (waiting_.part.step.left != nullptr) {
      ScaleRows<true>();
    } else {
      ScaleRows<false>();
    }
    Join();
  }

  template <bool kJoins>
  [[gnu::noinline]] void ScaleRows() {
    const Scaling scaling = ScalingOf(waiting_);
    const Factors factors = FactorsOf(*waiting_.part.segment);
    for (int64_t i = 0; i < kTileRows; ++i) {
      ScaleRow<kJoins>(scaling, factors, 0, i);
      ScaleRow<kJoins>(scaling, factors, 1, i);
    }
  }

  // The end of scaling: nothing waits.
  void Join() {
    const LeafStep& step = waiting_.part.step;
    float* to = step.left;
    for (int32_t join = 0; join < step.joins; ++join, to -= args_.slot_floats) {
      AddRows(to - args_.slot_floats, to);
    }
    waiting_.rows = 0;
  }

  // AddSum of leaf_sum.h, of the rows that wait.
  void AddRows(float* sum, const float* right) const {
    const int64_t end = (waiting_.row + waiting_.rows) * kPanelOutputs;
    for (int64_t at = waiting_.row * kPanelOutputs + first_; at < end; at += kPanelOutputs) {
      for (int v = 0; v < V * kVectorOutputs; v += kVectorOutputs) {
        const __m512 left = _mm512_load_ps(sum + at + v);
        _mm512_store_ps(sum + at + v, _mm512_add_ps(left, _mm512_load_ps(right + at + v)));
      }
    }
  }

  [[gnu::always_inline]] inline Factors FactorsOf(const Segment& segment) const {
    const GroupScales<V> group(args_, first_, segment);
    constexpr int kSecond = V == 3 ? 1 : 0, kThird = V == 3 ? 2 : 0;
    Factors factors = {{group.scale[0], group.scale[kSecond], group.scale[kThird]},
                       {group.offset[0], group.offset[kSecond], group.offset[kThird]}};
    // Else GCC reads them again, from where GroupScales left them, for every row.
    asm("" : "+v"(factors.scale[0]), "+v"(factors.scale[1]), "+v"(factors.scale[2]));
    asm("" : "+v"(factors.offset[0]), "+v"(factors.offset[1]), "+v"(factors.offset[2]));
    return factors;
  }

  [[gnu::always_inline]] inline Scaling ScalingOf(const Unit& unit) const {
    const int64_t scale_at = unit.row * args_.segment_count + unit.part.index * kTileRows;
    const LeafStep& step = unit.part.step;
    const int64_t leaf_at = unit.row * kPanelOutputs + first_;
    return {.begun = static_cast<__mmask16>(step.first ? 0 : 0xffff),
            .rows = unit.rows,
            .band_scales = args_.segment_count * kTileRows,
            .sums = unit.sums,
            .x_scale = args_.block.scales + scale_at,
            .x_sum = reinterpret_cast<const float*>(args_.block.sums) + scale_at,
            .leaf = step.leaf + leaf_at,
            .to = (step.left != nullptr ? step.left : step.leaf) + leaf_at};
  }

  // Row i of a band. As AddToLeaf of linear_cpu_avx512.cc, which adds +0 where there is nothing to
  // join: no sum is -0.
  template <bool kJoins>
  [[gnu::always_inline]] static inline void ScaleRow(const Scaling& s, const Factors& factors,
                                                     int64_t band, int64_t i) {
    const int64_t row = band * kTileRows + i;
    if (row >= s.rows) return;
    const int64_t scale_at = band * s.band_scales + i;
    const RowFactors row_factors = {_mm512_set1_ps(s.x_scale[scale_at]),
                                    _mm512_set1_ps(kIsAsymmetric ? s.x_sum[scale_at] : 0)};
    const int32_t* sums = s.sums + band * V * kTileSums + i * kVectorOutputs;
    ScaleVector<kJoins, 0>(s, factors, row_factors, sums, row * kPanelOutputs);
    if constexpr (V == 3) {
      ScaleVector<kJoins, 1>(s, factors, row_factors, sums, row * kPanelOutputs);
      ScaleVector<kJoins, 2>(s, factors, row_factors, sums, row * kPanelOutputs);
    }
  }

  template <bool kJoins, int kVector>
  [[gnu::always_inline]] static inline void ScaleVector(const Scaling& s, const Factors& factors,
                                                        const RowFactors& row, const int32_t* sums,
                                                        int64_t row_at) {
    const int64_t at = row_at + kVector * kVectorOutputs;
    const __m512 exact = _mm512_cvtepi32_ps(_mm512_load_si512(sums + kVector * kTileSums));
    const __m512 scale = _mm512_mul_ps(factors.scale[kVector], row.scale);
    const __m512 before = _mm512_maskz_load_ps(s.begun, s.leaf + at);
    __m512 sum = _mm512_add_ps(before, _mm512_mul_ps(exact, scale));
    if (kIsAsymmetric) sum = _mm512_add_ps(sum, _mm512_mul_ps(factors.offset[kVector], row.sum));
    if (kJoins) sum = _mm512_add_ps(_mm512_load_ps(s.to + at), sum);
    _mm512_store_ps(s.to + at, sum);
  }

  const PanelArgs& args_;
  const int64_t first_;
  const int64_t chunk_bytes_;
  const int64_t band_bytes_;
  LeafWalk walk_;
  int64_t segment_ = 0;    // the first that is in no group yet
  Group* next_ = nullptr;  // the group that is being spread
  Unit waiting_;           // multiplied, not yet scaled
  int turn_ = 0;           // which sums_ are to be written
  alignas(64) int8_t spread_[2][kGroupTiles * V * kTileBytes];
  alignas(64) int32_t sums_[2][kBandsMax * V * kTileSums];
};

template <Spread kSpread>
void SumPanel(const PanelArgs& args, float* slots) {
  if (args.width == kPanelOutputs) return PanelSum<kSpread, 3>(args, 0, slots).Run();
  for (int64_t first = 0; first < args.width; first += kVectorOutputs) {
    PanelSum<kSpread, 1>(args, first, slots).Run();
  }
}

}  // namespace

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
