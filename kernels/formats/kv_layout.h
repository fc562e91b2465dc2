// The paged KV cache's bit layout: a block holds 64 tokens of one layer, for all kv heads of a
// rank.
//
// Block, head after head:  K data [64, head_dim] | V data [64, head_dim] | K scale,zero [64, 2] f16
// | V scale,zero [64, 2] f16.  Data is int8 or bf16 (bf16 has no scales). Every part starts on 64
// bytes.
//
// int8 is asymmetric per token and head:  zero = (min + max) / 2, scale = (max - min) / 255, both
// narrowed to f16 (scale upward, so that codes do not clip), q = round((f - zero) / scale),
// f = q * scale + zero.
#pragma once

#include <cstdint>

#include "base/buffer.h"

namespace octet::kernels {

enum class KvFormat : uint8_t { kInt8, kBF16 };

inline constexpr int64_t kKvBlockTokens = 64;
inline constexpr int64_t kKvSplitTokens = 512;  // attention merges splits of this many, in order

struct KvLayout {
  KvFormat format = KvFormat::kInt8;
  int64_t kv_heads = 0;  // held by this rank; 0 is legal
  int64_t head_dim = 0;

  int64_t element_bytes() const { return format == KvFormat::kInt8 ? 1 : 2; }
  int64_t data_bytes() const { return AlignUp(kKvBlockTokens * head_dim * element_bytes()); }
  int64_t scale_bytes() const {
    return format == KvFormat::kInt8 ? AlignUp(kKvBlockTokens * 2 * 2) : 0;
  }
  int64_t head_bytes() const { return 2 * data_bytes() + 2 * scale_bytes(); }
  int64_t block_bytes() const { return kv_heads * head_bytes(); }

  // Byte offsets inside a block.
  int64_t k_data(int64_t head) const { return head * head_bytes(); }
  int64_t v_data(int64_t head) const { return k_data(head) + data_bytes(); }
  int64_t k_scale(int64_t head) const { return v_data(head) + data_bytes(); }
  int64_t v_scale(int64_t head) const { return k_scale(head) + scale_bytes(); }
};

// The scalar definition: `values` [head_dim] f32 -> `codes` [head_dim], scale and zero as f16 bits.
void QuantizeKvVector(const float* values, int64_t head_dim, int8_t* codes, uint16_t* scale,
                      uint16_t* zero);

}  // namespace octet::kernels
