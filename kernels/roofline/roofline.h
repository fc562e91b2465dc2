// What this machine can do, measured now: the denominators of every speed that is reported. Each
// call takes 0.2 to 2 s on all threads of the stream's pool and returns its best repetition, as
// other work on the machine only ever makes a repetition slower.
#pragma once

#include "base/device/stream.h"
#include "kernels/roofline/probes.h"

namespace octet::kernels {

// Bytes per second, by the fastest of some loops.
struct ReadBandwidth {
  double best = 0;        // in a repetition of a third of a millisecond or so
  double sustained = 0;   // in all repetitions of a loop together: what a longer read can have
  ReadOrder order{1, 0};  // of the loop that sustained it
};

// Of reading a buffer of four times the last-level caches, for the time of the call allocated
// (last_level_cache.h: 256 MiB to 2 GiB).
ReadBandwidth MeasureReadBandwidth(Stream& stream);

// int8 multiply and add operations per second (two per product) of the active instruction family,
// from registers: vpdpbusd; vpmaddubsw and vpaddw on AVX2; or what the compiler makes of a portable
// loop.
double MeasureInt8Peak(Stream& stream);

}  // namespace octet::kernels
