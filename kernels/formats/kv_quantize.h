// The scale and zero of one key or value vector (int8) or a group of one (int4), shared by the
// scalar definition and the lanes.
#pragma once

#include <cstdint>

namespace octet::kernels {

struct KvScale {
  uint16_t scale_bits = 0;  // f16
  uint16_t zero_bits = 0;   // f16
  float scale = 0;
  float zero = 0;
  // False: every code is 0, because the vector is constant or not finite.
  bool has_codes = false;
};

// Of a vector whose least and greatest values are given; `finite` is false if any is not.
KvScale KvScaleOf(float min, float max, bool finite);
KvScale KvInt4ScaleOf(float min, float max, bool finite);
// Of a vector whose scale and zero are given as f16 bits.
KvScale KvStaticScaleOf(const uint16_t* given, bool finite);

}  // namespace octet::kernels
