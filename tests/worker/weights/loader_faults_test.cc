// What is wrong with a checkpoint is said in one sentence, before memory is taken where possible.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/worker/weights/made_checkpoint.h"
#include "worker/weights/loader.h"

namespace octet::worker {
namespace {

using kernels::WeightFormat;

constexpr char kUp[] = "model.layers.1.mlp.up_proj.weight";

std::string MessageOf(const MadeCheckpoint& made, const WeightOptions& options) {
  const auto checkpoint = Checkpoint::Open(made.folder.path());
  if (!checkpoint.ok()) return checkpoint.status().message();
  ThreadPool pool(2);
  const auto shard = ShardPlan::Make(made.spec, 1, 0);
  return LoadDecoderWeights(*checkpoint, made.spec, *shard, options, pool, nullptr)
      .status()
      .message();
}

std::string MessageOf(const MadeCheckpoint& made) {
  return MessageOf(made, {.embedding = made.dtype, .group = 32});
}

TEST(LoadFaults, NoneInAGoodCheckpoint) {
  EXPECT_EQ(MessageOf(MadeCheckpoint(SmallConfig(false), DType::kF32)), "");
}

TEST(LoadFaults, MissingTensor) {
  MadeCheckpoint made(SmallConfig(false), DType::kBF16);
  std::erase_if(made.tensors, [](const auto& tensor) { return tensor.name == kUp; });
  made.WriteFile();
  EXPECT_EQ(MessageOf(made),
            "tensor \"model.layers.1.mlp.up_proj.weight\" of shape [1100, 176] is missing from the "
            "checkpoint");
}

TEST(LoadFaults, WrongShape) {
  MadeCheckpoint made(SmallConfig(false), DType::kBF16);
  made.Tensor(kUp).shape = {550, 352};
  made.WriteFile();
  EXPECT_EQ(MessageOf(made),
            "model.safetensors: tensor \"model.layers.1.mlp.up_proj.weight\": shape [550, 352], "
            "expected [1100, 176] by config.json");
  made.Tensor(kUp).shape = {1100 * 176};
  made.WriteFile();
  EXPECT_NE(MessageOf(made).find("shape [193600], expected [1100, 176]"), std::string::npos);
}

TEST(LoadFaults, VocabularyThatIsNotTheEmbeddings) {
  const MadeCheckpoint made(SmallConfig(false), DType::kBF16);
  nlohmann::json config = SmallConfig(false);
  config["vocab_size"] = 1301;
  const auto spec = SpecFromConfig(config.dump());
  const auto checkpoint = Checkpoint::Open(made.folder.path());
  EXPECT_EQ(CheckTensors(*checkpoint, *spec).message(),
            "model.safetensors: tensor \"model.embed_tokens.weight\": shape [1300, 176], expected "
            "[1301, 176] by config.json");
}

TEST(LoadFaults, TypeThatIsNotRead) {
  for (const char* type : {"I16", "F8_E4M3"}) {
    MadeCheckpoint made(SmallConfig(false), DType::kBF16);
    made.Tensor(kUp).type = type;
    made.Tensor(kUp).bytes = std::string(1100 * 176 * (type[0] == 'I' ? 2 : 1), 'x');
    made.WriteFile();
    EXPECT_EQ(MessageOf(made),
              "model.safetensors: tensor \"model.layers.1.mlp.up_proj.weight\": type " +
                  std::string(type) + ", supported are F32, F16 and BF16");
  }
}

TEST(LoadFaults, TensorThatTheConfigDoesNotKnow) {
  MadeCheckpoint made(SmallConfig(false), DType::kBF16);
  made.tensors.push_back({"model.layers.0.self_attn.q_proj.bias", "F32", {1}, "1234"});
  made.WriteFile();
  EXPECT_EQ(MessageOf(made),
            "model.safetensors: tensor \"model.layers.0.self_attn.q_proj.bias\" is not part of "
            "LlamaForCausalLM as config.json describes it; leaving it out would change the model");
  // Tables that are computed, and the head of a tied model, carry nothing.
  MadeCheckpoint tied(SmallConfig(true), DType::kBF16);
  tied.tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {1}, "1234"});
  const std::string table = "model.embed_tokens.weight";
  tied.tensors.push_back({"lm_head.weight", "BF16", tied.Tensor(table).shape,
                          octet::test::StoredBytes(DType::kBF16, tied.values[table])});
  tied.WriteFile();
  EXPECT_EQ(MessageOf(tied), "");
  tied.tensors.back().bytes.back() ^= 1;  // of the last row
  tied.WriteFile();
  EXPECT_EQ(MessageOf(tied),
            "config.json says tie_word_embeddings, but tensor \"lm_head.weight\" is not "
            "\"model.embed_tokens.weight\"; set tie_word_embeddings to false if the head counts");
}

TEST(LoadFaults, InfinityAndNaNInEveryKindOfTensor) {
  for (const char* name : {kUp, "model.layers.0.self_attn.o_proj.weight", "model.norm.weight",
                           "model.embed_tokens.weight", "lm_head.weight"}) {
    for (const float bad : {NAN, INFINITY}) {
      MadeCheckpoint made(SmallConfig(false), DType::kBF16);
      made.values[name][made.values[name].size() / 2] = bad;
      made.WriteFile();
      const size_t columns = std::string(name) == "model.norm.weight"                ? SIZE_MAX
                             : std::string(name).find("o_proj") != std::string::npos ? 192
                                                                                     : 176;
      EXPECT_EQ(MessageOf(made), "tensor \"" + std::string(name) + "\": infinity or NaN in row " +
                                     std::to_string(made.values[name].size() / 2 / columns));
    }
  }
}

TEST(LoadFaults, ValueTooLargeForItsFormat) {
  MadeCheckpoint made(SmallConfig(false), DType::kF32);
  made.values[kUp][700 * 176 + 3] = 1e7f;
  made.WriteFile();
  EXPECT_EQ(MessageOf(made),
            "tensor \"model.layers.1.mlp.up_proj.weight\": a value in row 700 is too large for the "
            "format it is to be kept in");
  EXPECT_NE(
      MessageOf(made, {.layers = WeightFormat::kF16, .embedding = made.dtype}).find("row 700"),
      std::string::npos);
  EXPECT_EQ(MessageOf(made, {.layers = WeightFormat::kBF16, .embedding = made.dtype, .group = 32}),
            "");
}

TEST(LoadFaults, PlannedForAnotherEmbedding) {
  const MadeCheckpoint made(SmallConfig(false), DType::kF16);
  EXPECT_EQ(MessageOf(made, {.embedding = DType::kBF16}),
            "the embedding is stored as F16, but planned as BF16");
}

TEST(LoadFaults, FileCutWhileItIsLoaded) {
  const MadeCheckpoint made(SmallConfig(false), DType::kBF16);
  const auto checkpoint = Checkpoint::Open(made.folder.path());
  ASSERT_TRUE(checkpoint.ok());
  const std::string file = made.folder.File("model.safetensors");
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  ThreadPool pool(2);
  const auto loaded = LoadDecoderWeights(*checkpoint, made.spec, *ShardPlan::Make(made.spec, 1, 0),
                                         {.embedding = DType::kBF16, .group = 32}, pool, nullptr);
  EXPECT_EQ(loaded.status().code(), StatusCode::kDataLoss);
  EXPECT_NE(loaded.status().message().find("while it is read"), std::string::npos)
      << loaded.status().message();
}

}  // namespace
}  // namespace octet::worker
