// AVX-512 VNNI: int8 activations, one or two rows times two panels side by side: two streams of
// memory a thread, which such a step waits for (README.md).
#include "kernels/linear/avx512_int8.h"

namespace octet::kernels {
namespace {

// A slot holds the rows of the first panel's sums, then those of the second's.
static_assert(2 * kPairRowsMax <= kBlockRows);

template <int R, bool kInt4, bool kAsymmetric>
void SumPair(const PanelArgs& args, float* slots) {
  constexpr int64_t kChunkBytes = kPanelOutputs * (kInt4 ? 4 : 8);
  const PanelArgs panels[2] = {args, SecondOfPair(args)};
  PanelArgs both = args;
  both.block.rows = 2 * R;
  SumLeaves(both, 0, kPanelOutputs, slots,
            [&](const Segment& segment, int64_t index, const LeafStep& step) {
              const int32_t* x_sum = args.block.sums + index * R;
              Tile<3, R> tiles[2];
              BeginTile<3, R, kAsymmetric>(x_sum, tiles[0]);
              BeginTile<3, R, kAsymmetric>(x_sum, tiles[1]);
              const std::byte* codes = args.panel + segment.codes_at * kPanelOutputs;
              const int8_t* q = args.block.codes + segment.padded_begin * R;
              for (int64_t chunk = ChunksOf(segment); chunk > 0; --chunk) {
#pragma GCC unroll 2
                for (int64_t i = 0; i < 2; ++i) {
                  const std::byte* from = codes + i * args.pair_bytes;
                  PrefetchLines<Prefetch::kPair>(from, kChunkBytes);
                  MultiplyChunk<3, R, kInt4, Codes::kPacked>(from, kChunkBytes / 2, nullptr, q,
                                                             tiles[i]);
                }
                codes += kChunkBytes;
                q += R * kChunkInputs;
              }
              for (int i = 0; i < 2; ++i) {
                const GroupScales<3> group(panels[i], 0, segment);
                const TileEnd end = {args.block.scales + index * R, x_sum,
                                     step.From(i * R * kPanelOutputs)};
                EndTile<3, R, kInt4, kAsymmetric, Codes::kPacked>(end, group, tiles[i]);
              }
            });
}

template <bool kInt4, bool kAsymmetric>
void SumPairOf(const PanelArgs& args, float* slots) {
  args.block.rows == 1 ? SumPair<1, kInt4, kAsymmetric>(args, slots)
                       : SumPair<2, kInt4, kAsymmetric>(args, slots);
}

}  // namespace

void SumPairAvx512(const PanelArgs& args, float* slots) {
  if (args.format == WeightFormat::kInt4) {
    args.asymmetric ? SumPairOf<true, true>(args, slots) : SumPairOf<true, false>(args, slots);
  } else {
    args.asymmetric ? SumPairOf<false, true>(args, slots) : SumPairOf<false, false>(args, slots);
  }
}

}  // namespace octet::kernels
