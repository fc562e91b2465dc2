// What this machine can do, measured now: the denominators of every speed that is reported. Each
// call takes about 0.2 s on all threads of the stream's pool and returns its best repetition, as
// other work on the machine only ever makes a repetition slower.
#pragma once

#include "base/device/stream.h"

namespace octet::kernels {

// Bytes per second of reading a buffer far larger than the caches.
double MeasureReadBandwidth(Stream& stream);

// int8 multiply and add operations per second (two per product) of the active instruction family,
// from registers: vpdpbusd; vpmaddubsw and vpaddw on AVX2; or what the compiler makes of a portable
// loop.
double MeasureInt8Peak(Stream& stream);

}  // namespace octet::kernels
