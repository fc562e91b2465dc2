#include <gtest/gtest.h>

#include "tests/worker/weights/made_checkpoint.h"
#include "worker/weights/loader.h"

namespace octet::worker {
namespace {

using kernels::WeightFormat;

ModelSpec WideSpec() {
  ModelSpec spec;
  spec.hidden = 2048;
  return spec;
}

TEST(ResolveWeightOptions, AutoKeepsWhatIsStored) {
  const auto options = ResolveWeightOptions(
      {.layers = DType::kF16, .head = DType::kF32, .embedding = DType::kBF16}, WideSpec(), {});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->layers, WeightFormat::kF16);
  EXPECT_EQ(options->head, WeightFormat::kF32);
  EXPECT_EQ(options->embedding, DType::kBF16);
  EXPECT_EQ(options->group, 128);
}

TEST(ResolveWeightOptions, QuantizedLayersHaveAnInt8Head) {
  const auto options = ResolveWeightOptions(StoredTypes(), WideSpec(), {.layers = "int4"});
  EXPECT_EQ(options->layers, WeightFormat::kInt4);
  EXPECT_EQ(options->head, WeightFormat::kInt8);
  const auto kept =
      ResolveWeightOptions(StoredTypes(), WideSpec(), {.layers = "int4", .head = "bf16"});
  EXPECT_EQ(kept->head, WeightFormat::kBF16);
  const auto narrowed = ResolveWeightOptions({.head = DType::kF32}, WideSpec(), {.layers = "bf16"});
  EXPECT_EQ(narrowed->head, WeightFormat::kBF16);
}

TEST(ResolveWeightOptions, GroupFollowsTheHiddenSize) {
  ModelSpec spec = WideSpec();
  EXPECT_EQ(ResolveWeightOptions(StoredTypes(), spec, {.group = 64})->group, 64);
  spec.hidden = 2047;
  EXPECT_EQ(ResolveWeightOptions(StoredTypes(), spec, {})->group, 32);
}

TEST(ResolveWeightOptions, NamesWhatIsNotSupported) {
  EXPECT_EQ(ResolveWeightOptions(StoredTypes(), WideSpec(), {.layers = "int5"}).status().message(),
            "weight format \"int5\" is not one of auto, f32, f16, bf16, int8, int4");
  EXPECT_EQ(ResolveWeightOptions(StoredTypes(), WideSpec(), {.head = ""}).status().message(),
            "head format \"\" is not one of auto, f32, f16, bf16, int8, int4");
  for (const int64_t group : {-7, 1, 33, 512}) {
    EXPECT_EQ(ResolveWeightOptions(StoredTypes(), WideSpec(), {.group = group}).status().code(),
              StatusCode::kInvalidArgument);
  }
}

TEST(ResolveWeightOptions, LooksAtTheCheckpoint) {
  const MadeCheckpoint made(SmallConfig(false), DType::kF16);
  const auto checkpoint = Checkpoint::Open(made.folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto options = ResolveWeightOptions(*checkpoint, made.spec, {});
  ASSERT_TRUE(options.ok()) << options.status().message();
  EXPECT_EQ(options->layers, WeightFormat::kF16);
  EXPECT_EQ(options->embedding, DType::kF16);
}

TEST(StoredTypesOf, TakesF32ForMatricesOfSeveralTypes) {
  MadeCheckpoint made(SmallConfig(false), DType::kBF16);
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  made.Tensor(name).type = "F16";
  made.Tensor(name).bytes = test::StoredBytes(DType::kF16, made.values[name]);
  made.WriteFile();
  const auto checkpoint = Checkpoint::Open(made.folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(StoredTypesOf(*checkpoint, made.spec).layers, DType::kF32);
  EXPECT_EQ(StoredTypesOf(*checkpoint, made.spec).head, DType::kBF16);
}

}  // namespace
}  // namespace octet::worker
