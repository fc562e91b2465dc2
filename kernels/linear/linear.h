// y = x W^T (+ bias) over packed weights, summed in the fixed order of base/sum_tree.h.
//
// The inputs a rank holds are cut into leaves; each leaf is accumulated by itself in float32 and
// leaves are added by the postorder program `merges`. A whole (column-parallel) linear ends in one
// root; a row-parallel shard ends in one or a few roots, which comm adds across ranks.
//
// A row of y depends on that row of x alone: not on `rows`, not on the thread that computes it.
//
// Activations: kF32 takes x as it is; kBF16 rounds x to bf16; kInt8 scales x to int8 per row over
// each segment (a run of inputs that neither a group nor a leaf boundary cuts; on CUDA over each
// leaf) and accumulates int32 inside a segment. Float weights with kInt8 use kBF16 activations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/device/stream.h"
#include "kernels/linear/activation_rows.h"

namespace octet::kernels {

enum class WeightFormat : uint8_t { kF32, kF16, kBF16, kInt8, kInt4 };
enum class ScaleFormat : uint8_t { kF16, kF32 };  // how scales and offsets are stored when packed
// How packed weights lie, chosen by the device and the activation mode alone: panels (packing.h)
// for the CPU, one form for CUDA with bf16 activations (every weight format), one with int8
// activations.
enum class WeightLayout : uint8_t { kCpuPanels, kCuda16, kCuda8 };

constexpr bool IsQuantized(WeightFormat f) {
  return f == WeightFormat::kInt8 || f == WeightFormat::kInt4;
}

// One rank's part of a linear.
struct LinearShape {
  WeightFormat format = WeightFormat::kBF16;
  int64_t outputs = 0;      // rows of W held here
  int64_t inputs = 0;       // columns of W held here
  int64_t input_begin = 0;  // the unsharded index of local input 0: groups are anchored at input 0
  int64_t group = 128;      // inputs that share a scale; quantized formats only
  bool asymmetric = false;  // true: an offset is stored; false: offset = -2^(bits-1) * scale
  ScaleFormat scale_format = ScaleFormat::kF16;
  WeightLayout layout = WeightLayout::kCpuPanels;
  std::vector<int64_t> leaf_bounds;  // [leaves + 1] local inputs; front 0, back `inputs`
  std::vector<int32_t> merges;       // [leaves] see base/sum_tree.h; at most 32 sums at once

  int64_t root_count() const;   // leaves - sum(merges)
  int64_t group_begin() const;  // the unsharded index of the first group touched
  int64_t group_count() const;  // groups touched
};

// Rows of weights in the neutral form, w[n, k] = scale[n, g] * code[n, k] + offset[n, g], codes
// unsigned (u4 or u8, one per byte). Float formats use `values`, in the format's own bits.
struct NeutralRows {
  int64_t rows = 0;
  std::vector<uint8_t> codes;   // [rows, inputs]
  std::vector<float> scales;    // [rows, groups]
  std::vector<float> offsets;   // [rows, groups]; empty when symmetric
  std::vector<uint8_t> values;  // [rows, inputs] elements of f32, f16 or bf16
};

// Bytes of the packed form, a function of the shape alone (its layout included).
int64_t PackedLinearBytes(const LinearShape& shape);

// Writes rows [row_begin, row_begin + rows.rows) into `packed` (PackedLinearBytes, 64-byte aligned,
// zeroed before the first call). Calls for different rows may come in any order and from several
// threads at a time.
// REQUIRES: int4 codes are below 16, and with ScaleFormat::kF16 every scale and offset is an f16.
void PackLinearRows(const LinearShape& shape, int64_t row_begin, const NeutralRows& rows,
                    std::byte* packed);

// Packed weights and what they are.
struct PackedLinear {
  const LinearShape* shape = nullptr;
  const std::byte* weights = nullptr;
};

inline constexpr int64_t kLinearArrivals = 4096;

struct LinearArgs {
  const LinearShape* shape = nullptr;
  const std::byte* weights = nullptr;  // packed
  const float* x = nullptr;            // [rows, inputs] f32, row stride x_stride elements
  int64_t x_stride = 0;
  int64_t rows = 0;
  const float* bias = nullptr;  // [outputs] f32 or null. REQUIRES: null unless one root
  float* out = nullptr;         // [roots, rows, outputs] f32, dense; must not alias x
  ActivationFormat activation = ActivationFormat::kInt8;
  std::byte* workspace = nullptr;  // LinearWorkspaceBytes(shape, activation, rows)
  // On a CUDA stream the rows come from here and x is ignored: in the format of the mode, or f32.
  ActivationRows activations;
  // CUDA: [kLinearArrivals] zero before the first call that is given them, zero again after each,
  // and of one stream. Null: what thread blocks leave is added by one more launch. The same bits.
  uint32_t* arrivals = nullptr;
  // CPU: what the next linear will be, or nothing. A hint, which changes no bit: threads that wait
  // meanwhile ask memory for the first of the weights that they will be dealt then.
  PackedLinear next;
};

// Of the device that shape.layout is for. There, `rows_format` is that of LinearArgs::activations:
// of the mode, or kF32, which takes more. Enough for any number of rows up to `rows`.
int64_t LinearWorkspaceBytes(const LinearShape& shape, ActivationFormat activation, int64_t rows);
int64_t LinearWorkspaceBytes(const LinearShape& shape, ActivationFormat activation, int64_t rows,
                             ActivationFormat rows_format);

// The table of segments of an ActivationRows of int8 for this linear (segment_bounds there, once
// uploaded): bounds [segments + 1] from 0 to `inputs`, then positions [segments], then the first
// segment of each leaf, [leaves + 1].
std::vector<int32_t> ActivationSegments(const LinearShape& shape);
// What rows of `format` take that a linear of this shape reads.
ActivationExtent ActivationExtentOf(const LinearShape& shape, ActivationFormat format);

void Linear(const LinearArgs& args, Stream& stream);
namespace cpu {
int64_t LinearWorkspaceBytes(const LinearShape& shape, ActivationFormat activation, int64_t rows);
void Linear(const LinearArgs& args, Stream& stream);
}  // namespace cpu
namespace cuda {
// By the shape's layout one of the two below.
OCTET_CUDA_OP void Linear(const LinearArgs& args, Stream& stream);
OCTET_CUDA_OP void Linear16(const LinearArgs& args, Stream& stream);  // kCuda16
OCTET_CUDA_OP void Linear8(const LinearArgs& args, Stream& stream);   // kCuda8
}  // namespace cuda

}  // namespace octet::kernels
