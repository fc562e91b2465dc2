// Whole models of int8 and QoQ checkpoints: their logits are those of the same weights in f32, and
// the same bits at every degree.
//
// Tolerance, in standard deviations of the logits: with exact activations weights are widened
// before they are multiplied, and no difference was found with AVX-512; 1e-3 is allowed for a
// family that scales sums instead. A wrong scale or permutation moves logits by whole units.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/engine_group.h"
#include "tests/worker/weights/formats/int8_qoq_cases.h"
#include "worker/engine/worker_options.h"

namespace octet {
namespace {

using worker::int8_qoq::Format;
using worker::int8_qoq::Formats;
using worker::int8_qoq::Made;

std::vector<testing::StepOutput> RunModel(const std::string& folder, int64_t ranks,
                                          const worker::WorkerOptions& options) {
  const auto checkpoint = worker::Checkpoint::Open(folder);
  if (!checkpoint.ok()) CheckFailed(__FILE__, __LINE__, checkpoint.status().message());
  const worker::ModelSpec spec = *worker::SpecFromConfig(checkpoint->config_json());
  const auto weights = worker::ResolveWeightOptions(*checkpoint, spec, {});
  if (!weights.ok()) CheckFailed(__FILE__, __LINE__, weights.status().message());
  worker::StepPlan prefill;
  prefill.admits.push_back({.slot = 0, .sampling = testing::WithLogits()});
  prefill.blocks.push_back(testing::Blocks(0, 0, 2));
  prefill.prefills.push_back(
      {.slot = 0, .first_position = 0, .tokens = {5, 3, 599, 0, 77, 77, 12}, .sample = true});
  const worker::StepPlan decode{.decode_slots = {0}};
  return testing::RunGroup(
      ranks,
      [&](int64_t n, int64_t rank) {
        return worker::MakeEngineConfig(options, spec, *weights, n, rank).value();
      },
      &*checkpoint, {prefill, decode, decode});
}

// The largest difference over the standard deviation of `theirs`.
double ErrorOf(const std::vector<float>& ours, const std::vector<float>& theirs) {
  double sum = 0, squares = 0, error_max = 0;
  for (size_t v = 0; v < theirs.size(); ++v) {
    sum += theirs[v];
    squares += double{theirs[v]} * theirs[v];
    error_max = std::max(error_max, std::abs(double{ours[v]} - theirs[v]));
  }
  const auto count = static_cast<double>(theirs.size());
  return error_max / std::sqrt(squares / count - sum / count * (sum / count));
}

TEST(Int8QoqModel, LogitsOfTheSameWeightsInF32) {
  worker::WorkerOptions exact;
  exact.activations = "f32";
  exact.kv = "bf16";
  exact.max_num_seqs = 1;
  exact.threads = 1;
  for (const Format& format : Formats()) {
    const Made made(format);
    made.Write();
    const auto ours = RunModel(made.folder.path(), 1, exact);
    const auto theirs = RunModel(made.float_folder.path(), 1, exact);
    double error = 0;
    for (size_t step = 0; step < ours.size(); ++step) {
      error = std::max(error, ErrorOf(ours[step].logits[0], theirs[step].logits[0]));
    }
    std::printf("%s: %.2e\n", format.name.c_str(), error);
    EXPECT_LT(error, 1e-3) << format.name;
    worker::WorkerOptions quantized = exact;
    quantized.activations = "int8";
    quantized.kv = "int8";
    const auto whole = RunModel(made.folder.path(), 1, quantized);
    for (const int64_t ranks : {2, 3, 8}) {
      const auto sharded = RunModel(made.folder.path(), ranks, quantized);
      for (size_t step = 0; step < whole.size(); ++step) {
        EXPECT_TRUE(sharded[step].logits == whole[step].logits)
            << format.name << ", tp " << ranks << ", step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace octet
