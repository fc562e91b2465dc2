// What is wrong with a packed checkpoint is said in one sentence that names file, tensor, what was
// found and what was expected.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/worker/weights/formats/stored_checkpoint.h"
#include "worker/weights/loader.h"

namespace octet::worker {
namespace {

constexpr char kUp[] = "model.layers.1.mlp.up_proj";

Status Load(const StoredCheckpoint& made) {
  OCTET_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(made.folder.path()));
  OCTET_ASSIGN_OR_RETURN(const WeightOptions options,
                         ResolveWeightOptions(checkpoint, made.spec, {}));
  ThreadPool pool(2);
  return LoadDecoderWeights(checkpoint, made.spec, *ShardPlan::Make(made.spec, 1, 0), options, pool,
                            nullptr)
      .status();
}

void ExpectSaid(const StoredCheckpoint& made, const std::string& said) {
  const Status status = Load(made);
  EXPECT_FALSE(status.ok()) << said;
  EXPECT_NE(status.message().find(said), std::string::npos) << status.message();
  EXPECT_EQ(status.message().find('\n'), std::string::npos);
}

template <typename T>
void Poke(StoredCheckpoint& made, const std::string& tensor, int64_t index, T value) {
  std::memcpy(made.Tensor(tensor).bytes.data() + index * sizeof(T), &value, sizeof value);
  made.WriteFile();
}

StoredCheckpoint Good(const StoredCase& stored = {}) { return {StoredConfig(false), stored}; }

TEST(StoredFaults, NoneInGoodCheckpoints) {
  for (const char* method : {"gptq", "gptq_v2", "awq", "pack-quantized"}) {
    EXPECT_EQ(Load(Good({.method = method, .symmetric = false})).message(), "");
  }
}

TEST(StoredFaults, GroupNumbers) {
  const std::string name = std::string(kUp) + ".g_idx";
  StoredCheckpoint made = Good();
  Poke<int32_t>(made, name, 40, 3);
  ExpectSaid(made, "model.safetensors: tensor \"" + name +
                       "\": input 40 is in group 3, expected one of 3 groups");
  Poke<int32_t>(made, name, 40, -1);
  ExpectSaid(made, "input 40 is in group -1, expected one of 3 groups");
  Poke<int32_t>(made, name, 40, 0);
  ExpectSaid(made, "\": input 40 is in group 0, expected 1, as the checkpoint is said to have no");
  StoredCheckpoint ordered = Good({.act_order = true});
  Poke<int32_t>(ordered, name, 40, 2000000000);
  ExpectSaid(ordered, "input 40 is in group 2000000000, expected one of 3 groups");
  ordered.Remove(name);
  ordered.WriteFile();
  ExpectSaid(ordered, "tensor \"" + name + "\" of shape [88] is missing from the checkpoint");
}

TEST(StoredFaults, GroupsThatAreNotFullOrNotEqual) {
  StoredCheckpoint made = Good({.act_order = true});
  const std::string name = std::string(kUp) + ".g_idx";
  const auto groups = [&] {
    std::vector<int32_t> of(made.Tensor(name).bytes.size() / 4);
    std::memcpy(of.data(), made.Tensor(name).bytes.data(), made.Tensor(name).bytes.size());
    return of;
  }();
  const auto first_of = [&](int32_t group) {
    return std::find(groups.begin(), groups.end(), group) - groups.begin();
  };
  const int64_t one = first_of(0);
  const int64_t other = first_of(1);
  Poke<int32_t>(made, name, one, 1);
  Poke<int32_t>(made, name, other, 0);
  ExpectSaid(made, "modules \"model.layers.1.mlp.gate_proj\" and \"" + std::string(kUp) +
                       "\" have their inputs in other groups, supported are equal ones");
  StoredCheckpoint uneven = Good({.act_order = true});
  for (const char* part : {"gate_proj", "up_proj"}) {
    Poke<int32_t>(uneven, std::string("model.layers.1.mlp.") + part + ".g_idx", one, 1);
  }
  ExpectSaid(uneven, "group 0 has another number of inputs than the group size of 32");
}

TEST(StoredFaults, Scales) {
  const std::string name = std::string(kUp) + ".scales";
  for (const uint16_t bad : {0x7c00, 0xfc00, 0x7e00}) {
    StoredCheckpoint made = Good();
    Poke<uint16_t>(made, name, 2 * 1064 + 700, bad);
    ExpectSaid(made, "model.safetensors: tensor \"" + name +
                         "\": infinity or NaN at [2, 700], expected a finite scale");
  }
  // A scale of zero stands for weights of zero, as it does for whoever else reads it.
  StoredCheckpoint zero = Good();
  Poke<uint16_t>(zero, name, 700, 0);
  EXPECT_EQ(Load(zero).message(), "");
}

TEST(StoredFaults, ZeroPointsOfAnotherFormat) {
  const std::string name = std::string(kUp) + ".qzeros";
  StoredCheckpoint v1 = Good();
  Poke<uint32_t>(v1, name, 5, 0x88888888u);
  ExpectSaid(v1, "model.safetensors: tensor \"" + name +
                     "\": 0x88888888 at [0, 5], expected 0x77777777 of a symmetric checkpoint in "
                     "format \"gptq\"");
  StoredCheckpoint v2 = Good({.method = "gptq_v2", .bits = 8});
  Poke<uint32_t>(v2, name, 5, 0x7f7f7f7fu);
  ExpectSaid(v2,
             "0x7F7F7F7F at [0, 5], expected 0x80808080 of a symmetric checkpoint in format "
             "\"gptq_v2\"");
  StoredCheckpoint spoiled = Good();
  Poke<uint32_t>(spoiled, name, 0, 0xffffffffu);
  ExpectSaid(spoiled, "0xFFFFFFFF at [0, 0], expected 0x77777777");
}

// Zero points of 0: the word as a whole less 0x11111111, as GPTQModel packs it, comes back.
TEST(StoredFaults, AmbiguousZeroPointsAreThoseOfGptqModel) {
  const std::string name = std::string(kUp) + ".qzeros";
  StoredCheckpoint made = Good({.symmetric = false});
  const std::vector<int> zeros = {3, 0, 9, 15, 0, 0, 1, 2};
  uint32_t word = 0;
  for (size_t i = 0; i < zeros.size(); ++i) word |= static_cast<uint32_t>(zeros[i]) << (4 * i);
  Poke<uint32_t>(made, name, 0, word - 0x11111111u);
  const auto checkpoint = Checkpoint::Open(made.folder.path());
  const auto modules = StoredModules::Open(*checkpoint, made.spec);
  const StoredFormat& format = *modules->format();
  const uint32_t code_words[] = {word, word, word, word, word, word, word, word};
  const uint32_t zero_words[] = {word - 0x11111111u};
  const std::vector<uint16_t> scales(8, FloatToF16(1.0f));
  const StoredBlock block = {{0, 8, 0, 8}, 0, 1};
  const StagedModule staged = {
      {DType::kI32, format.SliceOf(0, block), reinterpret_cast<const std::byte*>(code_words)},
      {DType::kI32, format.SliceOf(1, block), reinterpret_cast<const std::byte*>(zero_words)},
      {DType::kF16, format.SliceOf(2, block), reinterpret_cast<const std::byte*>(scales.data())}};
  std::vector<uint8_t> codes(64);
  std::vector<float> found_scales(8);
  std::vector<float> offsets(8);
  StoredOddities oddities;
  ASSERT_FALSE(format
                   .Unpack(staged, block,
                           {0, 8, codes.data(), found_scales.data(), offsets.data(), &oddities})
                   .has_value());
  for (size_t i = 0; i < zeros.size(); ++i) {
    EXPECT_EQ(offsets[i], static_cast<float>(-zeros[i]));
    EXPECT_EQ(codes[i], zeros[i]);  // of the first output, whose inputs are the word's codes
  }
  EXPECT_EQ(oddities.ambiguous_zero_words, 1);
  EXPECT_EQ(Load(made).message(), "");
}

TEST(StoredFaults, ShapesAndTypes) {
  StoredCheckpoint made = Good();
  made.Tensor(std::string(kUp) + ".qweight").shape = {1064, 11};
  made.WriteFile();
  ExpectSaid(made,
             "model.safetensors: tensor \"model.layers.1.mlp.up_proj.qweight\": shape [1064, 11], "
             "expected [11, 1064] by config.json and int4 GPTQ, group 32");
  StoredCheckpoint typed = Good();
  typed.Tensor(std::string(kUp) + ".qzeros").type = "F32";
  typed.WriteFile();
  ExpectSaid(typed, "up_proj.qzeros\": type F32, supported are I32");
  StoredCheckpoint wide = Good();
  wide.EditConfig([](nlohmann::json& c) { c["quantization_config"]["group_size"] = 64; });
  ExpectSaid(wide, "qzeros\": shape [3, ");
  StoredCheckpoint eight = Good();
  eight.EditConfig([](nlohmann::json& c) { c["quantization_config"]["bits"] = 8; });
  ExpectSaid(eight, "qweight\": shape [11, ");
}

TEST(StoredFaults, TensorsThatShouldNotBeThereOrAre) {
  StoredCheckpoint both = Good();
  both.tensors.push_back({std::string(kUp) + ".weight", "F16", {1}, "12"});
  both.WriteFile();
  ExpectSaid(both, "up_proj.qweight\" is there beside \"" + std::string(kUp) +
                       ".weight\", expected one of them");
  StoredCheckpoint less = Good();
  less.Remove(std::string(kUp) + ".scales");
  less.WriteFile();
  ExpectSaid(less, "tensor \"" + std::string(kUp) + ".scales\" of shape [3, 1064] is missing");
  StoredCheckpoint none = Good();
  none.EditConfig([](nlohmann::json& c) { c.erase("quantization_config"); });
  ExpectSaid(none, "qweight\" is there in the place of \"");
  // A bias that the model does not have: zeros mean nothing, other numbers would.
  StoredCheckpoint bias = Good();
  bias.tensors.push_back({std::string(kUp) + ".bias", "F16", {1064}, std::string(2128, '\0')});
  bias.WriteFile();
  EXPECT_EQ(Load(bias).message(), "");
  bias.Tensor(std::string(kUp) + ".bias").bytes[7] = 1;
  bias.WriteFile();
  ExpectSaid(bias, "up_proj.bias\" is not part of LlamaForCausalLM");
  StoredCheckpoint marlin = Good();
  marlin.tensors.push_back({std::string(kUp) + ".B", "I32", {1}, "1234"});
  marlin.WriteFile();
  ExpectSaid(marlin, "up_proj.B\" is not part of LlamaForCausalLM");
}

TEST(StoredFaults, WhatIsAskedForAndNotStored) {
  const StoredCheckpoint made = Good();
  const auto checkpoint = Checkpoint::Open(made.folder.path());
  const auto asked = [&](const WeightRequest& request) {
    return ResolveWeightOptions(*checkpoint, made.spec, request).status().message();
  };
  EXPECT_EQ(
      asked({.layers = "int8"}),
      "weight format \"int8\": the checkpoint stores int4 GPTQ, group 32, which is kept as it "
      "is; expected \"auto\"");
  EXPECT_EQ(asked({.layers = "int4", .head = "int8"}), "");
}

TEST(StoredFaults, OneModuleOfALinearThatIsNotQuantized) {
  StoredCheckpoint made = Good();
  for (const char* suffix : {".qweight", ".qzeros", ".scales", ".g_idx"}) {
    made.Remove(kUp + std::string(suffix));
  }
  made.tensors.push_back(
      {std::string(kUp) + ".weight", "F16", {1064, 88}, std::string(1064 * 88 * 2, '\0')});
  made.WriteFile();
  ExpectSaid(made,
             "module \"model.layers.0.mlp.gate_proj\" is quantized and "
             "\"model.layers.1.mlp.up_proj\" is not");
}

}  // namespace
}  // namespace octet::worker
