// Rotary position embedding in the rotate-half layout (element i pairs with i + rotary_dim / 2).
//
// RopeAngles runs once a step, Rope once a layer. Angles follow HF: position (as f32) times
// inverse frequency (f32), then cos and sin rounded once to f32. Rope has the same bits on CUDA;
// cos and sin there come from doubles within 2 ulp, so that about one in 2^28 rounds the other way.
#pragma once

#include <cstdint>

#include "base/device/stream.h"

namespace octet::kernels {

struct RopeAnglesArgs {
  const int32_t* positions = nullptr;        // [rows]
  const float* inverse_frequency = nullptr;  // [tables, rotary_dim / 2] f32
  float magnitude = 1.0f;                    // factor on cos and sin (yarn), 1 otherwise
  float* cos = nullptr;                      // [rows, rotary_dim / 2] f32
  float* sin = nullptr;                      // [rows, rotary_dim / 2] f32
  int64_t rows = 0;
  int64_t rotary_dim = 0;                 // even, at most head_dim
  const int32_t* table_of_row = nullptr;  // [rows]; below 0: the first. null: the first for all
};
void RopeAngles(const RopeAnglesArgs& args, Stream& stream);

struct RopeArgs {
  float* x = nullptr;  // [rows, heads * head_dim] f32 in place, row stride x_stride elements
  int64_t x_stride = 0;
  const float* cos = nullptr;  // [rows, rotary_dim / 2]
  const float* sin = nullptr;
  int64_t rows = 0;
  int64_t heads = 0;  // query and key heads may lie side by side: rotate them in one call
  int64_t head_dim = 0;
  int64_t rotary_dim = 0;
};
void Rope(const RopeArgs& args, Stream& stream);

namespace cpu {
void RopeAngles(const RopeAnglesArgs& args, Stream& stream);
void Rope(const RopeArgs& args, Stream& stream);
}  // namespace cpu
namespace cuda {
OCTET_CUDA_OP void RopeAngles(const RopeAnglesArgs& args, Stream& stream);
OCTET_CUDA_OP void Rope(const RopeArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::kernels
