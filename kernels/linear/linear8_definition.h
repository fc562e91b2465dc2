// What a device computes with int8 activations (layout kCuda8), in float32, every operation rounded
// by itself unless it is an fma. Row by row:
//
//   leaf         amax = max |x| over the leaf's inputs; q = round_to_even(x * (127 / amax)),
//                x_scale = amax / 127. An amax below kLeafAmaxMin counts as 0: q = 0, x_scale = 0.
//                An infinite or NaN amax gives q = 0, x_scale = NaN, which reaches every output.
//   its segments symmetric:   leaf = fma(w_scale, float(sum((code - 2^(bits-1)) * q)), leaf)
//                asymmetric:  leaf = fma(w_scale, float(sum(code * q)), leaf), then
//                             leaf = fma(w_offset, float(sum(q)), leaf)
//                ascending, from +0; sums of integers are exact.
//   its end      leaf = fma(leaf, x_scale, +0): a leaf of zeros is +0
//
// Leaves are then added by the postorder program, left + right. No form, tile, number of rows or
// shard changes a bit: leaves are never cut. (An exception that concerns denormal numbers: README.)
//
// The CPU scales each segment by itself (panel.h), so its bits differ. One scale for a leaf makes
// the end of a segment a conversion and one fma, of which a GPU has too few for more.
#pragma once

namespace octet::kernels {

inline constexpr float kLeafAmaxMin = 0x1p-100f;

}  // namespace octet::kernels
