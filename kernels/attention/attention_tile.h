// One item of attention work on the CPU: a few rows of one sequence times the query heads of one kv
// head. Every (row, head) is a vector, row by row. What a vector computes does not depend on the
// other vectors of its tile; the tile only shares the reading and widening of keys and values.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/formats/kv_layout.h"
#include "kernels/lanes.h"

namespace octet::kernels {

inline constexpr int64_t kTileVectors = 32;
// Tiles of more vectors wait for instructions, not for memory: they are faster one by one, with
// their states in the nearest cache.
inline constexpr int64_t kFewVectors = 4;
inline constexpr int64_t kUnitVectors = 8;             // that a product of the tile unit takes
inline constexpr int64_t kBundleTiles = 32;            // at most
inline constexpr int64_t kInt8DimMultiple = 64;        // of padded_dim in int8
inline constexpr int64_t kSumDims = kInt8DimMultiple;  // values whose sums a vector gets at a time
// A state is what a split (or several, merged) leaves of one vector: 16 floats, of which
// maximum score, sum of weights, sum of weighted zeros and 1 where it has seen a token; then the
// accumulated values [padded_dim].
inline constexpr int64_t kStateHead = 16;
enum StateField { kStateMax, kStateSum, kStateZero, kStateSeen };

struct AttentionTile {
  // One kv head of one layer's cache.
  KvFormat format = KvFormat::kInt8;
  const std::byte* cache = nullptr;
  const int32_t* block_table = nullptr;
  int64_t block_bytes = 0;
  int64_t head_bytes = 0;
  int64_t k_data = 0, v_data = 0, k_scale = 0, v_scale = 0;  // byte offsets inside a block
  int64_t head_dim = 0;
  int64_t padded_dim = 0;  // head_dim rounded up to whole lanes, in int8 to 64 values

  int64_t rows = 0;
  int64_t heads = 0;           // rows * heads <= kTileVectors
  int64_t first_position = 0;  // of row 0
  int64_t first_vector = 0;    // of the bundle's
  int64_t window = 0;
  float scale = 1.0f;
  const float* source = nullptr;  // of row 0, first head; [rows, heads * head_dim]
  int64_t source_stride = 0;
  float* out = nullptr;  // same shape
  int64_t out_stride = 0;

  // Scratch of the thread.
  float* q = nullptr;       // [vectors, padded_dim] scaled
  float* q_sum = nullptr;   // [vectors] of what stands for the query: q, or in int8 its codes
  float* scores = nullptr;  // [kTileVectors, 64] scores, then weights
  float* wide = nullptr;    // [64, padded_dim] keys, then values, widened; int8: attention_tiles.h
  float* scales = nullptr;  // [4, 64] K scale, K zero, V scale, V zero
  float* groups = nullptr;  // int4: [2, 64 * groups of a vector] scales, zeros of keys or values
  // int8 (attention_int8.h).
  int16_t* q_codes = nullptr;    // [vectors, padded_dim]
  int8_t* q_bytes = nullptr;     // the same as high and low bytes (AVX-512)
  float* q_step = nullptr;       // [vectors] code to query, times the softmax scale
  int32_t* dots = nullptr;       // [kTileVectors, 64] of codes
  uint8_t* weights = nullptr;    // [kTileVectors, 2 * 64] codes, in the family's order
  float* factors = nullptr;      // [kTileVectors] of the values before this block
  float* weight_step = nullptr;  // [kTileVectors] code to weight

  // Always inlined: the AVX files use them too (kernels/README.md, invariant 3).
  OCTET_INLINE int64_t vectors() const { return rows * heads; }
  OCTET_INLINE int64_t state_floats() const { return kStateHead + padded_dim; }
  // Of the context's block `index`, this kv head's part.
  OCTET_INLINE const std::byte* head_part(int64_t index) const {
    return cache + block_table[index] * block_bytes + k_data;
  }
  OCTET_INLINE int64_t position(int64_t vector) const { return first_position + vector / heads; }
  // The first cache position that the vector attends to.
  OCTET_INLINE int64_t oldest(int64_t vector) const {
    const int64_t p = position(vector);
    return window > 0 && p + 1 > window ? p + 1 - window : 0;
  }
};

// Tiles that a thread takes through the context together, block by block. More than one: of the
// same single row, so that all see the same blocks.
struct TileBundle {
  AttentionTile tiles[kBundleTiles];  // [count]
  int64_t count = 0;

  OCTET_INLINE int64_t vectors() const {
    return tiles[count - 1].first_vector + tiles[count - 1].vectors();
  }
};

// The body, from each instruction family. `states` is [vectors, state_floats], of a tile or, for
// `attend`, of the bundle.
struct AttentionBody {
  // Scales the queries into tile.q and sums them.
  void (*prepare)(const AttentionTile& tile);
  // Positions [512 split, 512 split + 512) of the context, from empty states. `after` is what the
  // thread will read next, head_bytes of it, or null.
  void (*attend)(const TileBundle& bundle, int64_t split, const std::byte* after, float* states);
  // merged += part; `merged` covers earlier splits.
  void (*merge)(const AttentionTile& tile, const float* part, float* merged);
  void (*write)(const AttentionTile& tile, const float* states);
  void (*leave)() = nullptr;  // a thread calls it behind its tiles, where not null
};

extern const AttentionBody kPlainAttention;
extern const AttentionBody kAvx2Attention;
extern const AttentionBody kAvx512Attention;
extern const AttentionBody kAmxAttention;

}  // namespace octet::kernels
