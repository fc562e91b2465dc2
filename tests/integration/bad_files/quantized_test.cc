// F5 of the table of faults: quantized tensors that can not be, in checkpoints that are good but
// for one value. A rank that holds the value refuses it in a sentence; a few MB are taken by then.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/integration/bad_files/bad_model.h"
#include "tests/integration/bad_files/counted_memory.h"
#include "tests/support/fault_table.h"
#include "tests/worker/weights/formats/stored_checkpoint.h"

namespace octet::testing {
namespace {

using worker::StoredCase;
using worker::StoredCheckpoint;

constexpr int64_t kBytesMax = int64_t{8} << 20;  // staging, and a shard of 0.4 MB

struct SpoiledTensor {
  const char* injected;
  StoredCase stored;
  const char* suffix;  // of up_proj, the last of whose outputs are of the rank that loads
  int64_t index;       // of the value in the tensor
  std::string bytes;
  const char* said;
};

TEST(BadFiles, F5QuantizedTensors) {
  const StoredCase gptq;
  const StoredCase act_order = {.act_order = true};
  const StoredCase v2 = {.method = "gptq_v2"};
  const StoredCase packed = {.method = "pack-quantized", .act_order = true};
  const int64_t last = 1063;
  const SpoiledTensor cases[] = {
      {"GPTQ with g_idx out of range", gptq, "g_idx", 3, std::string("\xff\xff\xff\x7f", 4),
       "input 3 is in group 2147483647, expected one of 3 groups"},
      {"GPTQ with a negative g_idx and act-order", act_order, "g_idx", 3, std::string(4, '\xff'),
       "input 3 is in group -1, expected one of 3 groups"},
      {"GPTQ with g_idx that falls and desc_act false", gptq, "g_idx", 40, std::string(4, '\0'),
       "input 40 is in group 0, expected 1, as the checkpoint is said to have no act-order"},
      {"compressed-tensors with weight_g_idx out of range", packed, "weight_g_idx", 3,
       std::string("\x03\0\0\0", 4), "input 3 is in group 3, expected one of 3 groups"},
      {"GPTQ with a scale of NaN", gptq, "scales", last, std::string("\x00\x7e", 2),
       "infinity or NaN at [0, 1063], expected a finite scale"},
      {"GPTQ with a scale of infinity", gptq, "scales", last, std::string("\x00\x7c", 2),
       "infinity or NaN at [0, 1063], expected a finite scale"},
      {"GPTQ with qzeros 0", gptq, "qzeros", last / 8, std::string(4, '\0'),
       "0x00000000 at [0, 132], expected 0x77777777 of a symmetric checkpoint"},
      {"GPTQ with qzeros all ones", gptq, "qzeros", last / 8, std::string(4, '\xff'),
       "0xFFFFFFFF at [0, 132], expected 0x77777777 of a symmetric checkpoint"},
      {"GPTQ v2 with the qzeros of v1", v2, "qzeros", last / 8, std::string(4, '\x77'),
       "0x77777777 at [0, 132], expected 0x88888888 of a symmetric checkpoint"},
  };
  for (const SpoiledTensor& c : cases) {
    StoredCheckpoint made(worker::StoredConfig(false), c.stored);
    const std::string name = std::string("model.layers.1.mlp.up_proj.") + c.suffix;
    std::string& tensor = made.Tensor(name).bytes;
    tensor.replace(c.index * c.bytes.size(), c.bytes.size(), c.bytes);
    made.WriteFile();
    const CountedMemory memory;
    const Status status = LoadAsRank(made.folder.path());
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << c.injected;
    EXPECT_EQ(status.message().rfind("model.safetensors: tensor \"" + name, 0), 0u)
        << status.message();
    EXPECT_NE(status.message().find(c.said), std::string::npos) << status.message();
    EXPECT_LE(memory.peak_bytes(), kBytesMax) << c.injected;
    FaultSeen("F5", c.injected, status.message());
  }
}

}  // namespace
}  // namespace octet::testing
