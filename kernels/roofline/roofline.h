// What this machine can do, measured now: the denominators of every speed that is reported. Each
// call takes 0.2 to 1 s on all threads of the stream's pool and returns its best repetition, as
// other work on the machine only ever makes a repetition slower.
#pragma once

#include "base/device/stream.h"

namespace octet::kernels {

// Bytes per second of reading a buffer of four times the last-level caches, for the time of the
// call allocated (last_level_cache.h: 256 MiB to 2 GiB).
double MeasureReadBandwidth(Stream& stream);

// int8 multiply and add operations per second (two per product) of the active instruction family,
// from registers: vpdpbusd; vpmaddubsw and vpaddw on AVX2; or what the compiler makes of a portable
// loop.
double MeasureInt8Peak(Stream& stream);

}  // namespace octet::kernels
