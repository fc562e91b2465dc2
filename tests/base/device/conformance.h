// One small kernel for each primitive of base/device/primitives.cuh, whose output has one right
// value by the PTX ISA. They run on the emulator always and, built by nvcc, on a GPU where there is
// one: that is what ties the emulator to the hardware. `in` and `out` are device memory.
#pragma once

#include <cstdint>

#include "base/device/stream.h"

namespace octet::conformance {

// One block of 64 threads each unless said otherwise; out[i] is thread i's.
void Coordinates(uint32_t* out, Stream& stream);  // grid 2x3, block 4x2x2; out [6, 16, 6]
void Shuffles(uint32_t* out, Stream& stream);     // out [8, 32]
void Votes(uint32_t* out, Stream& stream);        // out [8, 32]
void BlockVotes(uint32_t* out, Stream& stream);   // out [2, 64]
void SharedSums(const uint32_t* in, uint32_t* out, Stream& stream);  // in [64], out [64]
void NamedBarriers(uint32_t* out, Stream& stream);                   // 96 threads, out [96]
void Atomics(uint32_t* out, Stream& stream);                         // out [6], zero before
void GridBarrier(uint32_t* counter, uint32_t* out, Stream& stream);  // 4 blocks, out [4]
void LastBlock(uint32_t* counter, uint32_t* out, Stream& stream);    // 4 blocks, out [5]
void BitLogic(const uint32_t* in, uint32_t* out, Stream& stream);    // in [64, 3], out [6, 64]
void Conversions(const float* in, uint32_t* out, Stream& stream);    // in [64], out [8, 64]
void PackedFma(const uint32_t* in, uint32_t* out, Stream& stream);   // in [64, 3], out [3, 64]
// in [64, 4]; out [64, 4] and then [64, 2]
void WideAccesses(const uint32_t* in, uint32_t* out, Stream& stream);

// data[i] += *amount for 64 words: what varies comes from device memory.
void AddAmount(const uint32_t* amount, uint32_t* data, Stream& stream);

void AsyncCopies(const uint32_t* in, uint32_t* out, Stream& stream);  // in [1024], out [4, 256]

// One warp. rows [4, 8, 8] 16-bit elements; out [4, 32, 4] words: x4, x4_trans, x2, x2_trans.
void LoadMatrices(const uint16_t* rows, uint32_t* out, Stream& stream);

enum class Product { kBF16, kF16, kS8S8, kU8S8, kS8U8 };
// One warp. a [16, depth] and b [8, depth] elements of the product's types, d [16, 8] float or
// int32, all dense; d += a * b^T.
void MultiplyWarp(Product product, const void* a, const void* b, void* d, Stream& stream);

// sm_90 alone.
enum class OperandA { kRegisters, kShared };
struct WarpgroupProduct {
  Product product;  // not kF16
  int columns;      // 8, 64, 256
  OperandA a;
  bool swizzled;  // tiles in shared memory: of 128-byte rows, or of cores
};
// One warpgroup. a [64, depth], b [columns, depth] with depth of 128 bytes: four instructions.
void MultiplyWarpgroup(const WarpgroupProduct& shape, const void* a, const void* b, void* d,
                       Stream& stream);
void Clusters(uint32_t* out, Stream& stream);  // 3 clusters of 4 blocks, out [3, 4, 32], 0 before
// A ring of two stages, filled by one warp, read by another. in, out [rounds, 256]
void BulkRing(const uint32_t* in, uint32_t* out, int rounds, Stream& stream);
inline constexpr int kBoxRows = 24;
// The box of in [rows, stride] (the first `inputs` of each row) that begins at (row, input), as it
// lies in shared memory. out [kBoxRows, 64]
struct TensorBoxPlace {
  int rows, inputs, stride, row, input;
};
void LoadTensorBox(const TensorBoxPlace& at, const uint16_t* in, uint16_t* out, Stream& stream);

}  // namespace octet::conformance
