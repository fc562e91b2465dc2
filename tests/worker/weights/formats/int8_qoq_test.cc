// Each rank of an int8 or QoQ checkpoint holds, bit for bit, what it holds of the same model in
// f32.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/support/one_sentence.h"
#include "tests/worker/weights/decode_linear.h"
#include "tests/worker/weights/formats/int8_qoq_cases.h"
#include "worker/weights/loader.h"

namespace octet::worker::int8_qoq {
namespace {

Result<DecoderWeights> Load(const std::string& folder, const ModelSpec& spec, int64_t ranks,
                            int64_t rank) {
  OCTET_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(folder));
  OCTET_ASSIGN_OR_RETURN(const WeightOptions options, ResolveWeightOptions(checkpoint, spec, {}));
  ThreadPool pool(2);
  return LoadDecoderWeights(checkpoint, spec, *ShardPlan::Make(spec, ranks, rank), options, pool,
                            nullptr);
}

TEST(Int8AndQoq, EveryRankHoldsItsCutExactly) {
  for (const Format& format : Formats()) {
    const Made made(format);
    made.Write();
    for (int64_t ranks = 1; ranks <= 8; ++ranks) {
      for (int64_t rank = 0; rank < ranks; ++rank) {
        SCOPED_TRACE(format.name + ", rank " + std::to_string(rank) + " of " +
                     std::to_string(ranks));
        const auto found = Load(made.folder.path(), made.spec, ranks, rank);
        const auto exact = Load(made.float_folder.path(), made.spec, ranks, rank);
        ASSERT_TRUE(found.ok()) << found.status().message();
        ASSERT_TRUE(exact.ok()) << exact.status().message();
        const auto expect = [&](kernels::LinearShape DecoderShapes::*shape,
                                const std::byte* LayerWeights::*packed) {
          if ((found->shapes.*shape).outputs == 0 || (found->shapes.*shape).inputs == 0) return;
          EXPECT_TRUE(kernels::IsQuantized((found->shapes.*shape).format));
          EXPECT_EQ(DecodeLinear(found->shapes.*shape, found->layers[0].*packed),
                    DecodeLinear(exact->shapes.*shape, exact->layers[0].*packed));
        };
        expect(&DecoderShapes::qkv, &LayerWeights::qkv);
        expect(&DecoderShapes::o, &LayerWeights::o);
        expect(&DecoderShapes::gate_up, &LayerWeights::gate_up);
        expect(&DecoderShapes::down, &LayerWeights::down);
      }
    }
  }
}

// Rows as norms give them: of different magnitudes, some channels larger than the others.
std::vector<float> Activations(int64_t rows, int64_t inputs) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> x(rows * inputs);
  for (int64_t row = 0; row < rows; ++row) {
    const float magnitude = std::exp(normal(random));
    for (int64_t input = 0; input < inputs; ++input)
      x[row * inputs + input] = normal(random) * magnitude * (input % 100 == 3 ? 4.0f : 1.0f);
  }
  return x;
}

// Squared error over squared length of `y` against weights times x in double.
double ErrorOf(const std::vector<float>& y, const std::vector<float>& weights,
               const std::vector<float>& x, int64_t rows, int64_t inputs) {
  const auto outputs = static_cast<int64_t>(weights.size()) / inputs;
  double error = 0;
  double length = 0;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t output = 0; output < outputs; ++output) {
      double exact = 0;
      for (int64_t i = 0; i < inputs; ++i)
        exact += double{weights[output * inputs + i]} * x[row * inputs + i];
      error += std::pow(y[row * outputs + output] - exact, 2);
      length += exact * exact;
    }
  }
  return error / length;
}

// The decision of worker/weights/formats/README.md: a checkpoint's static scales are not used,
// since a scale for each row and 128 inputs is never coarser than one that covers all rows. Even
// one that was calibrated on these very rows, which clips none of them, is several times worse.
TEST(Int8AndQoq, ScalesOfEachRowAreFinerThanAStaticOne) {
  const Made made(Int8("channel", true, true, DType::kF32));
  made.Write();
  const auto loaded = Load(made.folder.path(), made.spec, 1, 0);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const kernels::LinearShape& shape = loaded->shapes.gate_up;
  const std::byte* packed = loaded->layers[0].gate_up;
  const std::vector<float> weights = DecodeLinear(shape, packed);
  constexpr int64_t kRows = 64;
  const std::vector<float> x = Activations(kRows, shape.inputs);

  ThreadPool pool(1);
  Stream stream(&pool);
  const auto run = [&](const std::vector<float>& rows, kernels::ActivationFormat activation) {
    const Buffer workspace(kernels::LinearWorkspaceBytes(shape, activation, kRows));
    std::vector<float> out(kRows * shape.outputs);
    kernels::Linear({.shape = &shape,
                     .weights = packed,
                     .x = rows.data(),
                     .x_stride = shape.inputs,
                     .rows = kRows,
                     .out = out.data(),
                     .activation = activation,
                     .workspace = workspace.data()},
                    stream);
    return ErrorOf(out, weights, x, kRows, shape.inputs);
  };
  float largest = 0;
  for (const float value : x) largest = std::max(largest, std::fabs(value));
  std::vector<float> rounded = x;
  for (float& value : rounded) value = std::nearbyint(value / (largest / 127)) * (largest / 127);

  const double ours = run(x, kernels::ActivationFormat::kInt8);
  const double with_static = run(rounded, kernels::ActivationFormat::kF32);
  EXPECT_LT(run(x, kernels::ActivationFormat::kF32), 1e-10) << "sums in float32";
  std::printf("squared error: ours %.3g, static %.3g\n", ours, with_static);
  EXPECT_LT(ours, with_static / 4);
}

struct Fault {
  const char* name;
  Format format;
  std::function<void(Made&)> make;
  const char* message;  // a part of it
};

TEST(Int8AndQoq, FaultsAreOneSentence) {
  const std::string q = "model.layers.0.self_attn.q_proj.";
  const Format int8 = Int8("channel", true, true, DType::kF32);
  const Format groups = QoqGroups();
  const auto set = [](const std::string& pointer, const json& value) {
    return [=](Made& made) {
      made.config["quantization_config"][json::json_pointer(pointer)] = value;
    };
  };
  const std::string group_0 = "/config_groups/group_0/";
  const auto byte = [](const std::string& name, size_t at, char value) {
    return [=](Made& made) { made.Tensor(name).bytes[at] = value; };
  };
  const auto rename = [](const std::string& name, const std::string& to) {
    return [=](Made& made) { made.Tensor(name).name = to; };
  };
  const std::string nan_f32("\0\0\xc0\x7f", 4);
  const std::vector<Fault> faults = {
      {"4 bits", int8, set(group_0 + "weights/num_bits", 4),
       "key \"num_bits\" is 4, supported is 8"},
      {"block", int8, set(group_0 + "weights/strategy", "block"), "key \"strategy\" is \"block\""},
      {"fp8", int8, set(group_0 + "weights/type", "float"), "key \"type\" is \"float\""},
      {"fp8 inputs", int8, set(group_0 + "input_activations/type", "float"),
       "input_activations: key \"type\" is \"float\""},
      {"int4 inputs", int8, set(group_0 + "input_activations/num_bits", 4),
       "input_activations: key \"num_bits\" is 4"},
      {"outputs", int8, set(group_0 + "output_activations", json::object()),
       "key \"output_activations\" is"},
      {"scale shape", int8, [&](Made& made) { made.Tensor(q + "weight_scale").shape = {256}; },
       "q_proj.weight_scale\": shape [256], expected [256, 1]"},
      {"no input scale", int8, rename(q + "input_scale", q + "input_zero_point"),
       "q_proj.input_scale\" of shape [1] is missing"},
      {"NaN", int8,
       [&](Made& made) { made.Tensor(q + "weight_scale").bytes.replace(8, 4, nan_f32); },
       "q_proj.weight_scale\": infinity or NaN at [2, 0], expected a finite scale"},
      {"weight type", int8, [&](Made& made) { made.Tensor(q + "weight").type = "U8"; },
       "q_proj.weight\": type U8, supported are I8"},
      {"smooth_quant fp8", SmoothQuant(), set("/quant_dtype", "float8_e4m3fn"),
       "key \"quant_dtype\" is \"float8_e4m3fn\", supported is \"int8\""},
      {"group 64", groups, set("/group_size", 64),
       "key \"group_size\" is 64, supported is -1 or 128"},
      {"two levels as one", groups, set("/group_size", -1),
       "s1_szeros\" of shape [256] is missing"},
      {"wide step", groups, byte(q + "s2_scales", 0, 127),
       "q_proj.s2_scales\": scale 127 of group 0 and output 0 leads beyond 8 bits"},
      {"negative step", groups, byte(q + "s2_scales", 0, -1), "s2_scales\": scale -1 of group 0"},
      {"scale", groups,
       [&](Made& made) { made.Tensor(q + "s1_scales").bytes.replace(2, 2, "\xff\x7f"); },
       "q_proj.s1_scales\": infinity or NaN at [1]"},
  };
  for (const Fault& fault : faults) {
    Made made(fault.format);
    fault.make(made);
    made.Write();
    const auto loaded = Load(made.folder.path(), made.spec, 1, 0);
    ExpectOneSentence(loaded.status(), fault.message, fault.name);
  }
}

}  // namespace
}  // namespace octet::worker::int8_qoq
