// In which form the ops of a device hand rows to the linears behind them, and the tables of
// segments that int8 rows need, which are uploaded once.
#pragma once

#include <cstdint>
#include <vector>

#include "base/device/stream.h"
#include "worker/model/decoder_weights.h"
#include "worker/model/linear_input.h"

namespace octet::worker {

struct DeviceInputs {
  LinearInput normed;     // of qkv and gate_up, which cut their inputs alike
  LinearInput ordered;    // in the place of `normed`, with act-order; else it takes no bytes
  LinearInput attention;  // of o: attention writes f32 where o reads int8
  LinearInput gated;      // of down
  std::vector<int32_t> normed_table;
  std::vector<int32_t> gated_table;

  static DeviceInputs Of(const DecoderShapes& shapes);
  int64_t table_bytes() const;
  // Uploads the tables to `tables` [table_bytes()] and points the inputs there.
  void PlaceTables(std::byte* tables, Stream& stream);
};

}  // namespace octet::worker
