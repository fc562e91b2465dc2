// One key or value vector, held by kLanes neighbouring lanes of a warp, into the paged cache:
// codes, scales and zeros bit for bit those of kernels/formats/kv_layout.h. bf16 rounds to nearest
// even.
//
// Lane l holds runs j of kWidth values that start at (j * kLanes + l) * kWidth; values at and past
// head_dim do not exist. Every lane of the warp calls; a lane that is not `live` stores nothing.
#pragma once

#include <cstddef>

#include "kernels/formats/kv_layout.h"
#include "kernels/formats/kv_quantize.cuh"
#include "kernels/rows.cuh"

namespace octet::kernels::cuda {

struct Extremes {
  float min = INFINITY;
  float max = -INFINITY;
  bool nan = false;  // after Gather: some value is NaN, or none is there

  template <int kWidth>
  OCTET_DEVICE void Take(const Floats<kWidth>& a) {
    for (int k = 0; k < kWidth; ++k) {
      min = fminf(min, a.v[k]);
      max = fmaxf(max, a.v[k]);
      nan = nan || a.v[k] != a.v[k];
    }
  }
  // Of the kLanes neighbours that start at a multiple of kLanes.
  template <int kLanes>
  OCTET_DEVICE void Gather() {
    for (int mask = kLanes / 2; mask > 0; mask /= 2) {
      min = fminf(min, __shfl_xor_sync(hw::kAllLanes, min, mask));
      max = fmaxf(max, __shfl_xor_sync(hw::kAllLanes, max, mask));
    }
    const unsigned lane = threadIdx.x % 32;
    const unsigned neighbours = hw::kAllLanes >> (32 - kLanes) << lane / kLanes * kLanes;
    nan = (__ballot_sync(hw::kAllLanes, nan) & neighbours) != 0;
  }
  OCTET_DEVICE bool finite() const { return !nan && min > -INFINITY && max < INFINITY; }
};

// Where a vector goes: its data and its pairs of scale and zero. `given` is the pair of static
// scales, or null.
struct KvPlace {
  std::byte* data;
  std::byte* pairs;
  const uint16_t* given;
};

OCTET_DEVICE void StorePair(std::byte* pairs, int group, const KvScale& s) {
  reinterpret_cast<uint32_t*>(pairs)[group] = s.scale_bits | uint32_t{s.zero_bits} << 16;
}

OCTET_DEVICE uint32_t Int8Code(float value, const KvScale& s) {
  if (!s.has_codes) return 0;
  return static_cast<uint32_t>(hw::round_to_s8((value - s.zero) / s.scale)) & 0xffu;
}

OCTET_DEVICE uint32_t Int4Code(float value, const KvScale& s) {
  return s.has_codes ? hw::round_to_u8(fminf((value - s.zero) / s.scale, 15.0f)) : 0u;
}

template <int kWidth, int kLanes, int kRuns>
OCTET_DEVICE void StoreInt8(const Floats<kWidth> (&a)[kRuns], int head_dim, bool live,
                            const KvPlace& place) {
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  Extremes extremes;
  for (int j = 0; j < kRuns; ++j) {
    if ((j * kLanes + lane) * kWidth < head_dim) extremes.Take(a[j]);
  }
  extremes.Gather<kLanes>();
  const KvScale s = place.given != nullptr
                        ? KvStaticScaleOf(place.given, extremes.finite())
                        : KvInt8ScaleOf(extremes.min, extremes.max, extremes.finite());
  if (!live) return;
  if (lane == 0) StorePair(place.pairs, 0, s);
  for (int j = 0; j < kRuns; ++j) {
    const int index = (j * kLanes + lane) * kWidth;
    if (index >= head_dim) continue;
    if constexpr (kWidth == 4) {
      *reinterpret_cast<uint32_t*>(place.data + index) =
          Int8Code(a[j].v[0], s) | Int8Code(a[j].v[1], s) << 8 | Int8Code(a[j].v[2], s) << 16 |
          Int8Code(a[j].v[3], s) << 24;
    } else {
      place.data[index] = static_cast<std::byte>(Int8Code(a[j].v[0], s));
    }
  }
}

// A run's groups of 32 values are 32 / kWidth lanes; head_dim is a multiple of 16, so that the last
// one may be half as long.
template <int kWidth, int kLanes, int kRuns>
OCTET_DEVICE void StoreInt4(const Floats<kWidth> (&a)[kRuns], int head_dim, bool live,
                            const KvPlace& place) {
  constexpr int kGroupLanes = static_cast<int>(kKvInt4Group) / kWidth;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  for (int j = 0; j < kRuns; ++j) {
    const int index = (j * kLanes + lane) * kWidth;
    Extremes extremes;
    if (index < head_dim) extremes.Take(a[j]);
    extremes.Gather<kGroupLanes>();
    const KvScale s = KvInt4ScaleOf(extremes.min, extremes.max, extremes.finite());
    uint32_t codes = 0;
    for (int k = 0; k < kWidth; ++k) codes |= Int4Code(a[j].v[k], s) << 4 * k;
    if constexpr (kWidth == 1) codes |= __shfl_xor_sync(hw::kAllLanes, codes, 1) << 4;
    if (!live || index >= head_dim) continue;
    if (index % kKvInt4Group == 0)
      StorePair(place.pairs, index / static_cast<int>(kKvInt4Group), s);
    if constexpr (kWidth == 4) {
      *reinterpret_cast<uint16_t*>(place.data + index / 2) = static_cast<uint16_t>(codes);
    } else if (index % 2 == 0) {
      place.data[index / 2] = static_cast<std::byte>(codes);
    }
  }
}

template <int kWidth, int kLanes, int kRuns>
OCTET_DEVICE void StoreKvVector(KvFormat format, const Floats<kWidth> (&a)[kRuns], int head_dim,
                                bool live, const KvPlace& place) {
  if (format == KvFormat::kInt8) return StoreInt8<kWidth, kLanes>(a, head_dim, live, place);
  if (format == KvFormat::kInt4) return StoreInt4<kWidth, kLanes>(a, head_dim, live, place);
  for (int j = 0; j < kRuns; ++j) {
    const int index = (j * kLanes + static_cast<int>(threadIdx.x) % kLanes) * kWidth;
    if (live && index < head_dim) StoreBF16(reinterpret_cast<uint16_t*>(place.data) + index, a[j]);
  }
}

}  // namespace octet::kernels::cuda
