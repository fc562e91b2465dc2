// AVX2: int8 activations (avx2_int8.h), one row: a step of one sequence, which waits for memory.
// All of a panel's outputs are summed at once, so that its lines are read front to back, and two
// panels take turns every few lines: two streams of memory, each asked for while the other is
// multiplied (README.md has what that brings).
#include "kernels/linear/avx2_int8.h"

namespace octet::kernels {
namespace {

constexpr int kVectors = kPanelOutputs / kVector;
constexpr int64_t kStepBytes = kPanelOutputs * 4;  // int4: two quads of each output, int8: one
constexpr int kTurnSteps = 4;                      // a panel's turn
constexpr int64_t kTurnBytes = kTurnSteps * kStepBytes;
constexpr int64_t kAheadBytes = 256;  // beside what the next turn begins with
static_assert(kTurnSteps * 2 == kNarrowQuads);

// Asks for a step's lines into the nearest cache.
[[gnu::always_inline]] inline void PrefetchStep(const std::byte* lines) {
#pragma GCC unroll 3
  for (int64_t at = 0; at < kStepBytes; at += kLineBytes) {
    _mm_prefetch(reinterpret_cast<const char*>(lines + at), _MM_HINT_T0);
  }
}

// A panel's part in a turn.
struct Turn {
  const std::byte* codes = nullptr;
  const std::byte* ahead = nullptr;  // what to ask for meanwhile, as much as is read
  const int8_t* q = nullptr;
};

// sum (+)= two quads of int4 codes of every output times activations, kBegins: =.
template <bool kBegins>
[[gnu::always_inline]] inline void MultiplyInt4(const Turn& turn, int64_t step,
                                                __m256i (&sum)[kVectors]) {
  const __m256i mask = _mm256_set1_epi8(0x0f);
  const __m256i first = LoadQuad(turn.q + step * 8);
  const __m256i second = LoadQuad(turn.q + step * 8 + 4);
  PrefetchStep(turn.ahead + step * kStepBytes);
#pragma GCC unroll 6
  for (int v = 0; v < kVectors; ++v) {
    const __m256i raw = LoadCodes(turn.codes + step * kStepBytes + v * 32);
    const __m256i low = _mm256_maddubs_epi16(_mm256_and_si256(raw, mask), first);
    if (kBegins) {
      sum[v] = low;
    } else {
      Add16(sum[v], low);
    }
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(raw, 4), mask);
    Add16(sum[v], _mm256_maddubs_epi16(high, second));
  }
}

// sum += a quad of int8 codes of every output times activations.
[[gnu::always_inline]] inline void MultiplyInt8(const Turn& turn, int64_t step,
                                                __m256i (&sum)[kVectors]) {
  const __m256i low_bytes = _mm256_set1_epi16(0xff);
  const __m256i quad = LoadQuad(turn.q + step * 4);
  const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(quad, 8), 8);
  const __m256i odd = _mm256_srai_epi16(quad, 8);
  PrefetchStep(turn.ahead + step * kStepBytes);
#pragma GCC unroll 6
  for (int v = 0; v < kVectors; ++v) {
    const __m256i raw = LoadCodes(turn.codes + step * kStepBytes + v * 32);
    Add32(sum[v], _mm256_madd_epi16(_mm256_and_si256(raw, low_bytes), even));
    Add32(sum[v], _mm256_madd_epi16(_mm256_srli_epi16(raw, 8), odd));
  }
}

// total += up to kTurnSteps steps.
template <bool kInt4>
[[gnu::always_inline]] inline void TakeTurn(const Turn& turn, int64_t steps, __m256i* total) {
  __m256i sum[kVectors];
  if (kInt4) {
    MultiplyInt4<true>(turn, 0, sum);
  } else {
#pragma GCC unroll 6
    for (int v = 0; v < kVectors; ++v) sum[v] = total[v];
    MultiplyInt8(turn, 0, sum);
  }
  const auto take = [&](int64_t step) __attribute__((always_inline)) {
    kInt4 ? MultiplyInt4<false>(turn, step, sum) : MultiplyInt8(turn, step, sum);
  };
  if (steps == kTurnSteps) {
#pragma GCC unroll 4
    for (int step = 1; step < kTurnSteps; ++step) take(step);
  } else {
    for (int64_t step = 1; step < steps; ++step) take(step);
  }
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 6
  for (int v = 0; v < kVectors; ++v) {
    total[v] = kInt4 ? _mm256_add_epi32(total[v], _mm256_madd_epi16(sum[v], ones)) : sum[v];
  }
}

// kPanels: 1, or 2 of a pair.
template <bool kInt4, bool kAsymmetric, int kPanels>
void SumRow(const PanelArgs& args, float* slots) {
  const PanelArgs panels[2] = {args, kPanels == 2 ? SecondOfPair(args) : args};
  PanelArgs all = args;
  all.block.rows = kPanels;
  SumLeaves(all, 0, kPanelOutputs, slots,
            [&](const Segment& segment, int64_t index, const LeafStep& step) {
              __m256i totals[kPanels][kVectors];
              for (auto& total : totals) {
                for (__m256i& sums : total) sums = _mm256_setzero_si256();
              }
              const int64_t chunks = ChunksOf(segment);
              const int64_t steps = kInt4 ? chunks : 2 * chunks;
              const std::byte* codes = args.panel + segment.codes_at * kPanelOutputs;
              const int8_t* q = args.block.codes + segment.padded_begin;
              for (int64_t at = 0; at < steps; at += kTurnSteps) {
                const int64_t left = steps - at;
                const int64_t count = left < kTurnSteps ? left : kTurnSteps;
#pragma GCC unroll 2
                for (int i = 0; i < kPanels; ++i) {
                  Turn turn;
                  turn.codes = codes + i * args.pair_bytes;
                  turn.ahead = kAheadBytes + (i + 1 < kPanels ? turn.codes + args.pair_bytes
                                                              : codes + kTurnBytes);
                  turn.q = q;
                  TakeTurn<kInt4>(turn, count, totals[i]);
                }
                codes += kTurnBytes;
                q += kTurnSteps * (kInt4 ? 8 : 4);
              }
              for (int i = 0; i < kPanels; ++i) {
                const SegmentEnd end = {args.block.scales + index, args.block.sums + index,
                                        step.From(i * kPanelOutputs)};
                const GroupScales<kVectors> group(panels[i], 0, segment);
                AddToLeaf<1, kVectors, kAsymmetric>(end, group, totals[i]);
              }
            });
}

template <bool kInt4, bool kAsymmetric>
void SumRow(const PanelArgs& args, float* slots) {
  args.pair_bytes != 0 ? SumRow<kInt4, kAsymmetric, 2>(args, slots)
                       : SumRow<kInt4, kAsymmetric, 1>(args, slots);
}

}  // namespace

void SumRowAvx2(const PanelArgs& args, float* slots) {
  if (args.format == WeightFormat::kInt4) {
    args.asymmetric ? SumRow<true, true>(args, slots) : SumRow<true, false>(args, slots);
  } else {
    args.asymmetric ? SumRow<false, true>(args, slots) : SumRow<false, false>(args, slots);
  }
}

}  // namespace octet::kernels
