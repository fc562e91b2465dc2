// The paged KV cache's bit layout: a block holds 64 tokens of one layer, for all kv heads of a
// rank.
//
// Block, head after head:  K data [64, head_dim] | V data [64, head_dim] | K scale,zero
// [64, groups, 2] f16 | V scale,zero [64, groups, 2] f16.  Every part starts on 64 bytes. Data is
// bf16 (no scales), int8 (one group: the head's vector) or int4 (groups of 32 values, the last one
// 16 where head_dim is no multiple of 32).
//
// int8 lies in one of two orders. Rows, as above, are for devices. The CPU has fours, which its
// products of bytes take as they lie:  K data [ceil(head_dim / 4), 64 tokens, 4 values], each byte
// 128 more than the code, hence unsigned | V data [64 / 4, head_dim, 4 tokens]. Where head_dim is
// no multiple of 4, the last four's bytes that are no value's hold anything.
//
// int8 is asymmetric per token and head:  zero = (min + max) / 2, scale = (max - min) / 255, both
// narrowed to f16 (scale upward, so that codes do not clip), q = round((f - zero) / scale),
// f = q * scale + zero.
//
// Static int8 (scales from a checkpoint) has the same places and the same reading: every token of a
// head carries the pair that was given for it, and codes clip at -128 and 127.
//
// int4 is asymmetric per token, head and group:  zero = min, narrowed to f16 downward, scale =
// (max - zero) / 15, narrowed upward, q = round((f - zero) / scale) in 0..15, f = q * scale + zero,
// product and sum each rounded to f32. Byte i of a vector holds code 2 i in its low nibble and code
// 2 i + 1 in its high one. REQUIRES: head_dim is a multiple of 16.
#pragma once

#include <cstdint>

#include "base/buffer.h"

namespace octet::kernels {

enum class KvFormat : uint8_t { kInt8, kBF16, kInt4 };
enum class KvOrder : uint8_t { kRows, kFours };  // of int8; other formats are rows

inline constexpr int64_t kKvBlockTokens = 64;
inline constexpr int64_t kKvInt4Group = 32;        // values that share a scale and a zero
inline constexpr int64_t kKvInt4DimMultiple = 16;  // of the head dims that int4 can hold
inline constexpr int64_t kHeadDimMax = 256;        // of what CUDA appends
// int8 on the CPU: a longer vector could overflow the exact sums of its codes.
inline constexpr int64_t kKvInt8DimMax = 512;
inline constexpr int64_t kKvSplitTokens = 512;  // attention merges splits of this many, in order

struct KvLayout {
  KvFormat format = KvFormat::kInt8;
  int64_t kv_heads = 0;  // held by this rank; 0 is legal
  int64_t head_dim = 0;
  KvOrder order = KvOrder::kRows;

  // Bytes of one token's key or value vector.
  int64_t vector_bytes() const {
    if (format == KvFormat::kInt4) return head_dim / 2;
    return format == KvFormat::kInt8 ? head_dim : head_dim * 2;
  }
  // Pairs of scale and zero that a vector has.
  int64_t scale_groups() const {
    if (format == KvFormat::kInt4) return (head_dim + kKvInt4Group - 1) / kKvInt4Group;
    return format == KvFormat::kInt8 ? 1 : 0;
  }
  // The same in both orders.
  int64_t data_bytes() const {
    const int64_t bytes = vector_bytes();
    return AlignUp(kKvBlockTokens * (format == KvFormat::kInt8 ? AlignUp(bytes, 4) : bytes));
  }
  int64_t scale_bytes() const { return AlignUp(kKvBlockTokens * scale_groups() * 2 * 2); }
  int64_t head_bytes() const { return 2 * data_bytes() + 2 * scale_bytes(); }
  int64_t block_bytes() const { return kv_heads * head_bytes(); }

  // Byte offsets inside a block.
  int64_t k_data(int64_t head) const { return head * head_bytes(); }
  int64_t v_data(int64_t head) const { return k_data(head) + data_bytes(); }
  int64_t k_scale(int64_t head) const { return v_data(head) + data_bytes(); }
  int64_t v_scale(int64_t head) const { return k_scale(head) + scale_bytes(); }
};

// Whether a cache of this format can hold vectors of this many values.
constexpr bool KvFormatHolds(KvFormat format, int64_t head_dim) {
  return format != KvFormat::kInt4 || head_dim % kKvInt4DimMultiple == 0;
}

// Whether what appends, a device or the CPU, can write this order.
constexpr bool KvOrderSuits(const KvLayout& layout, bool on_device) {
  if (layout.order == KvOrder::kRows) return true;
  return layout.format == KvFormat::kInt8 && !on_device && layout.head_dim <= kKvInt8DimMax;
}

// The scalar definition of int8: `values` [head_dim] f32 -> `codes` [head_dim], scale and zero as
// f16 bits.
void QuantizeKvVector(const float* values, int64_t head_dim, int8_t* codes, uint16_t* scale,
                      uint16_t* zero);

// The same with a given pair of f16 bits (static scales): `pair` is what the cache then holds,
// which is NaN, NaN where a value is not finite. REQUIRES: a scale above zero.
void QuantizeKvVectorStatic(const float* values, int64_t head_dim, const uint16_t* given,
                            int8_t* codes, uint16_t* pair);

// The scalar definition of int4: -> `codes` [head_dim / 2] bytes, `pairs` [groups, 2] f16 bits.
void QuantizeKvVectorInt4(const float* values, int64_t head_dim, uint8_t* codes, uint16_t* pairs);
// And back, as attention reads it.
void DequantizeKvVectorInt4(const uint8_t* codes, const uint16_t* pairs, int64_t head_dim,
                            float* values);

}  // namespace octet::kernels
