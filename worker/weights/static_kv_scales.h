// Static scales of an int8 KV cache that come with a checkpoint: for the keys and the values of
// every kv head one scale and one zero, value = code * scale + zero. Read where they are asked for
// (--kv int8-static), from one of
//   - `k_scale` and `v_scale` beside a layer's projections (or k_proj.output_scale, v_proj.
//     output_scale; or one kv_scale for both), one number or one for every kv head, where
//     config.json has a kv_cache_scheme of 8 bits, type int, symmetric, not dynamic
//     (compressed-tensors, as vLLM reads it);
//   - files layers.N.past_kv_scale.R.weight beside config.json (LMDeploy up to 0.3), raw f32, of
//     every rank R that they were exported for: k scale, k zero, v scale, v zero, or the two scales
//     where it is symmetric. R ranks hold kv_heads / R heads each.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "worker/model/model_spec.h"
#include "worker/weights/checkpoint.h"

namespace octet::worker {

struct StaticKvScales {
  std::vector<uint16_t> pairs;  // [layers, kv_heads, 2 (key, value), 2 (scale, zero)] f16 bits
};

// All of it is there and right, and each number is an f16 above zero (a scale) or finite (a zero)
// once rounded; else a sentence that names file or tensor, expected and found.
Result<StaticKvScales> ReadStaticKvScales(const Checkpoint& checkpoint, const ModelSpec& spec);

// A tensor of static scales: it says nothing of the weights.
bool IsKvScaleTensor(std::string_view name);

// What to say where a checkpoint has static scales that nobody asked for; empty: it has none.
std::string UnusedKvScales(const Checkpoint& checkpoint);

// Whether a checkpoint has static scales and whether they can be taken, for people to read.
std::string DescribeKvScales(const Checkpoint& checkpoint, const ModelSpec& spec);

// What tells LMDeploy's files from others; empty where there are none.
std::string KvScaleFilesIdentity(const Checkpoint& checkpoint);

}  // namespace octet::worker
