// What sampling promises of the engine, bit for bit, for requests with penalties, bias, min_tokens
// and log-probabilities on every route: tokens and log-probabilities do not depend on the TP
// degree, the batch, the chunks, the threads, a preemption or a prefix that was found in the cache.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "comm/single.h"
#include "tests/kernels/sampling/adjust_reference.h"
#include "tests/support/engine_group.h"
#include "tests/worker/engine/odd_model.h"
#include "tests/worker/engine/sampling_script.h"
#include "worker/engine/engine.h"

namespace octet::worker {
namespace {

using test::Batch;
using test::Request;
using test::Trace;
using test::TraceOf;
using testing::StepOutput;

constexpr int64_t kVocab = 1300;
constexpr int64_t kDecodes = 12;

// The bias makes a few tokens likely, so that answers repeat them and penalties matter.
Admit Everything(int32_t slot, const kernels::SamplingParams& sampling) {
  Admit admit{.slot = slot, .sampling = sampling};
  for (int32_t token : {3, 77, 511, 512, 800, 1023, 1024, 1290}) {
    admit.adjustments.logit_bias.push_back({token, 4.0f + static_cast<float>(token % 3)});
  }
  admit.adjustments.repetition_penalty = 1.2f;
  admit.adjustments.presence_penalty = 0.3f;
  admit.adjustments.frequency_penalty = 0.4f;
  admit.adjustments.min_tokens = 6;
  admit.adjustments.end_ids = {77, 1290};
  admit.logprobs = 5;
  admit.prompt_logprobs = 3;
  return admit;
}

std::vector<Request> Mix() {
  std::vector<Request> mix;
  const auto add = [&](const kernels::SamplingParams& sampling, int64_t prompt_tokens) {
    const auto slot = static_cast<int32_t>(mix.size());
    Request request{.admit = Everything(slot, sampling),
                    .prompt = test::Tokens(prompt_tokens, slot + 1, kVocab),
                    .blocks = {slot * 3 + 2, slot * 3, slot * 3 + 1},
                    .decodes = kDecodes};
    request.admit.prompt_tokens = prompt_tokens;
    mix.push_back(request);
    return &mix.back().admit;
  };
  add({.temperature = 0.0f}, 60)->prompt_logprobs = 0;
  add({.temperature = 0.9f, .seed = 5, .sample_index = 1}, 40);
  add({.temperature = 1.0f, .top_k = 30, .seed = 6}, 130)->logprobs = 20;
  add({.temperature = 0.8f, .top_p = 0.9f, .seed = 7}, 60)->prompt_logprobs = 20;
  Admit* min_p = add({.temperature = 1.1f, .min_p = 0.02f, .seed = 8}, 70);
  min_p->adjustments.repetition_penalty = 1.0f;
  min_p->adjustments.frequency_penalty = -0.2f;
  min_p->logprobs = 0;
  Admit* plain = add({.temperature = 0.7f, .seed = 9}, 9);
  plain->adjustments = {};
  plain->logprobs = plain->prompt_logprobs = -1;
  return mix;
}

std::vector<StepOutput> RunOn(const std::vector<StepPlan>& plans, int64_t ranks, int threads = 1,
                              int variant = 0) {
  const auto config = [&](int64_t n, int64_t rank) {
    return test::MakeTestConfig(test::OddSpec(), test::kVariants[variant], n, rank, threads);
  };
  return testing::RunGroup(ranks, config, nullptr, plans);
}

std::vector<Trace> Traces(const std::vector<StepOutput>& outputs,
                          const std::vector<Request>& requests) {
  std::vector<Trace> traces;
  for (const Request& r : requests) traces.push_back(TraceOf(outputs, requests, r.admit.slot));
  return traces;
}

// Each request of the mix alone on one rank, its prompt in one chunk.
const std::vector<Trace>& Alone() {
  static const std::vector<Trace> kAlone = [] {
    std::vector<Trace> traces;
    for (const Request& r : Mix()) traces.push_back(Traces(RunOn(Batch({r}, 160), 1), {r})[0]);
    return traces;
  }();
  return kAlone;
}

TEST(EngineSampling, TracesAreWhole) {
  const std::vector<Request> mix = Mix();
  for (size_t i = 0; i < mix.size(); ++i) {
    const Trace& trace = Alone()[i];
    const Admit& admit = mix[i].admit;
    EXPECT_EQ(static_cast<int64_t>(trace.tokens.size()), kDecodes + 1);
    EXPECT_EQ(trace.logprobs.size(), admit.logprobs >= 0 ? trace.tokens.size() : 0);
    const int64_t told = admit.prompt_logprobs >= 0 ? admit.prompt_tokens - 1 : 0;
    ASSERT_EQ(static_cast<int64_t>(trace.prompt.size()), told);
    for (int64_t p = 0; p < told; ++p) EXPECT_EQ(trace.prompt_positions[p], p + 1);
    for (size_t t = 0; t < trace.logprobs.size(); ++t) {
      const RowLogprobs& row = trace.logprobs[t];
      EXPECT_EQ(row.top_count, admit.logprobs);
      EXPECT_TRUE(row.logprob < 0 && row.logprob > -50);
      for (int32_t k = 0; k < row.top_count; ++k) {  // the same float wherever it is told
        if (row.top_tokens[k] == trace.tokens[t]) {
          EXPECT_EQ(row.top_logprobs[k], row.logprob);
        }
        EXPECT_LE(row.top_logprobs[k], row.top_logprobs[std::max(k - 1, 0)]);
      }
    }
  }
}

TEST(EngineSampling, EveryAdjustmentMatters) {
  const std::vector<Request> mix = Mix();
  const std::vector<void (*)(Adjustments&)> off = {
      [](Adjustments& a) { a.repetition_penalty = 1; },
      [](Adjustments& a) { a.presence_penalty = 0; },
      [](Adjustments& a) { a.frequency_penalty = 0; },
      [](Adjustments& a) { a.logit_bias.clear(); },
      [](Adjustments& a) { a.min_tokens = 0; },
  };
  for (size_t i = 0; i < off.size(); ++i) {
    std::vector<Request> changed = mix;
    for (Request& r : changed) off[i](r.admit.adjustments);
    EXPECT_FALSE(Traces(RunOn(Batch(changed, 160), 1), changed) == Alone()) << "without " << i;
  }
  for (const size_t request : {0, 1, 2, 3, 4}) {
    const std::vector<int32_t>& tokens = Alone()[request].tokens;
    for (int t = 0; t < 6; ++t) EXPECT_TRUE(tokens[t] != 77 && tokens[t] != 1290) << "banned";
  }
}

// The likeliest token of logits adjusted by definition, prompt and answer told apart as a client
// would; on both routes.
TEST(EngineSampling, TokensAreTheBestOfAdjustedLogits) {
  const int64_t prompt_tokens = 50;
  std::vector<Request> both(2);
  for (int32_t slot = 0; slot < 2; ++slot) {
    Request& r = both[slot];
    r.admit = Everything(slot, {.temperature = 0.0f});
    r.admit.prompt_tokens = prompt_tokens;
    r.prompt = test::Tokens(prompt_tokens, 4, kVocab);
    r.prompt[20] = r.prompt[30] = 512;  // liked by the bias
    r.blocks = {slot * 2, slot * 2 + 1};
    r.decodes = 25;
  }
  both[1].admit.sampling = testing::WithLogits();
  const std::vector<StepOutput> outputs = RunOn(Batch(both, 160), 3);
  const Adjustments& adjustments = both[0].admit.adjustments;
  kernels::test::OwnedAdjustment by_definition{.bias = adjustments.logit_bias,
                                               .repetition = adjustments.repetition_penalty,
                                               .presence = adjustments.presence_penalty,
                                               .frequency = adjustments.frequency_penalty,
                                               .prompt = both[0].prompt};
  std::vector<int32_t>& answer = by_definition.answer;
  for (const StepOutput& output : outputs) {
    const bool banned = static_cast<int64_t>(answer.size()) < adjustments.min_tokens;
    by_definition.banned = banned ? adjustments.end_ids : std::vector<int32_t>{};
    const std::vector<double> wanted = AdjustedByDefinition(by_definition, output.logits.at(1));
    const auto best = std::max_element(wanted.begin(), wanted.end()) - wanted.begin();
    EXPECT_EQ(output.result.tokens, (std::vector<int32_t>(2, static_cast<int32_t>(best))))
        << "after " << answer.size();
    answer.push_back(output.result.tokens[1]);
  }
  EXPECT_EQ(answer.size(), 26u);
}

TEST(EngineSampling, SameBitsAtEveryDegreeInABatch) {
  const std::vector<StepPlan> plans = Batch(Mix(), 64);
  for (const int64_t ranks : {1, 2, 3, 4, 5, 7, 8}) {
    EXPECT_TRUE(Traces(RunOn(plans, ranks), Mix()) == Alone()) << "tp " << ranks;
  }
}

TEST(EngineSampling, SameBitsHoweverPromptsAreCut) {
  for (const int64_t chunk : {1, 16, 64, 77}) {
    EXPECT_TRUE(Traces(RunOn(Batch(Mix(), chunk), 2), Mix()) == Alone()) << "chunks of " << chunk;
  }
}

TEST(EngineSampling, SameBitsOnThreeThreads) {
  EXPECT_TRUE(Traces(RunOn(Batch(Mix(), 64), 2, 3), Mix()) == Alone());
}

TEST(EngineSampling, SameBitsAtADegreeWithOtherFormats) {
  for (const int variant : {1, 2}) {
    const std::vector<StepPlan> plans = Batch(Mix(), 64);
    EXPECT_TRUE(Traces(RunOn(plans, 3, 1, variant), Mix()) ==
                Traces(RunOn(plans, 1, 1, variant), Mix()));
  }
}

// What `before` told followed by what `after` told.
Trace Joined(Trace before, const Trace& after) {
  before.tokens.insert(before.tokens.end(), after.tokens.begin(), after.tokens.end());
  before.logprobs.insert(before.logprobs.end(), after.logprobs.begin(), after.logprobs.end());
  return before;
}

// The first phase draws `drawn` tokens of each request; then all are released and admitted again in
// other slots with what is known by then. A request keeps its first `kept_blocks` blocks.
void ExpectResumes(int64_t ranks, int64_t drawn, int64_t kept_blocks) {
  std::vector<Request> before = Mix();
  for (Request& r : before) r.decodes = drawn - 1;
  std::vector<Request> after;
  for (size_t i = 0; i < before.size(); ++i) {
    Request r = before[i];
    const std::vector<int32_t>& answer = Alone()[i].tokens;
    r.prompt.insert(r.prompt.end(), answer.begin(), answer.begin() + drawn);
    r.admit.slot = static_cast<int32_t>((i + 1) % before.size());
    r.admit.prompt_logprobs = -1;  // told before
    const int64_t kept = std::min(kept_blocks, (static_cast<int64_t>(r.prompt.size()) - 1) / 64);
    r.admit.cached_tokens = kept * 64;
    r.admit.cached_token_ids.assign(r.prompt.begin(), r.prompt.begin() + kept * 64);
    for (size_t b = 0; b < r.blocks.size(); ++b) {
      if (static_cast<int64_t>(b) >= kept) r.blocks[b] = static_cast<int32_t>(24 + i * 3 + b);
    }
    r.decodes = kDecodes - drawn;
    after.push_back(r);
  }
  std::vector<StepPlan> plans = Batch(before, 64);
  const size_t border = plans.size();
  const std::vector<StepPlan> resumed = Batch(after, 16);
  plans.insert(plans.end(), resumed.begin(), resumed.end());
  plans[border].release_slots = test::ReleaseAll(before).release_slots;
  const std::vector<StepOutput> outputs = RunOn(plans, ranks);
  const std::vector<StepOutput> first(outputs.begin(), outputs.begin() + border);
  const std::vector<StepOutput> second(outputs.begin() + border, outputs.end());
  for (size_t i = 0; i < before.size(); ++i) {
    const Trace joined = Joined(TraceOf(first, before, before[i].admit.slot),
                                TraceOf(second, after, after[i].admit.slot));
    EXPECT_TRUE(joined == Alone()[i]) << "request " << i << " resumed after " << drawn;
  }
}

TEST(EngineSampling, SameBitsAfterAPreemption) {
  ExpectResumes(2, 5, 0);
  ExpectResumes(1, 9, 0);
}

// The cached tokens reach into the answer where the prompt has 60 tokens.
TEST(EngineSampling, SameBitsWhenAPreemptedRequestFindsItsBlocks) { ExpectResumes(3, 8, 2); }

// The prompt of 130 tokens once more, beside the first and on its first two blocks.
TEST(EngineSampling, SameBitsOnSharedBlocks) {
  const Request first = Mix()[2];
  Request second = first;
  second.admit.slot = 6;
  second.admit.cached_tokens = 128;
  second.admit.cached_token_ids.assign(first.prompt.begin(), first.prompt.begin() + 128);
  second.blocks[2] = 40;
  std::vector<StepPlan> plans = Batch({first}, 160);
  const std::vector<StepPlan> hit = Batch({second}, 160);
  for (size_t i = 0; i < hit.size(); ++i) {  // from the second step on, both run
    StepPlan& plan = i + 1 < plans.size() ? plans[i + 1] : plans.emplace_back();
    plan.admits = hit[i].admits;
    plan.blocks = hit[i].blocks;
    plan.prefills = hit[i].prefills;
    plan.decode_slots.insert(plan.decode_slots.end(), hit[i].decode_slots.begin(),
                             hit[i].decode_slots.end());
  }
  const std::vector<StepOutput> outputs = RunOn(plans, 2);
  const Trace& alone = Alone()[2];
  EXPECT_TRUE(TraceOf(outputs, {first, second}, first.admit.slot) == alone);
  const Trace shared = TraceOf(outputs, {first, second}, second.admit.slot);
  EXPECT_EQ(shared.tokens, alone.tokens);
  EXPECT_TRUE(shared.logprobs == alone.logprobs);
  // Of the prompt only what was computed is told: the token after 128.
  ASSERT_EQ(shared.prompt.size(), 1u);
  EXPECT_EQ(shared.prompt_positions[0], 129);
  EXPECT_TRUE(shared.prompt[0] == alone.prompt[128]);
}

TEST(EngineSampling, PromptLogprobsAreThoseOfDecode) {
  for (const size_t i : {1, 3}) {
    Request r = Mix()[i];
    const std::vector<int32_t>& answer = Alone()[i].tokens;
    r.prompt.insert(r.prompt.end(), answer.begin(), answer.end());
    r.admit.prompt_tokens = static_cast<int64_t>(r.prompt.size());
    r.admit.prompt_logprobs = r.admit.logprobs;
    r.decodes = 0;
    const Trace told = Traces(RunOn(Batch({r}, 64), 2), {r})[0];
    const std::vector<RowLogprobs> of_answer(
        told.prompt.end() - static_cast<int64_t>(answer.size()), told.prompt.end());
    EXPECT_TRUE(of_answer == Alone()[i].logprobs);
  }
}

// A token whose embedding is no number spoils its sequence and nobody else's.
TEST(EngineSampling, ARowWithoutANumberLeavesTheOthersAlone) {
  const EngineConfig config = test::MakeTestConfig(test::OddSpec(), test::kVariants[1], 1, 0, 2);
  std::vector<Request> mix = Mix();
  constexpr int32_t kSpoiled = 1299;
  for (Request& r : mix) std::replace(r.prompt.begin(), r.prompt.end(), kSpoiled, 17);
  const auto run = [&](const std::vector<StepPlan>& plans) {
    ThreadPool pool(config.threads);
    DecoderWeights weights = MakeRandomWeights(config.spec, config.shard, config.weights, 1, pool);
    auto* const row = const_cast<std::byte*>(weights.embedding) + kSpoiled * config.spec.hidden * 2;
    std::memset(row, 0xff, static_cast<size_t>(config.spec.hidden) * 2);  // bf16 NaN
    comm::SingleCommunicator single;
    Engine engine(config, std::move(weights), &single, &pool);
    std::vector<StepOutput> outputs;
    for (const StepPlan& plan : plans)
      outputs.push_back({.result = engine.Step(plan), .logits = {}});
    return outputs;
  };
  const std::vector<Trace> sound = Traces(run(Batch(mix, 64)), mix);
  for (const size_t bad : {0, 1, 3}) {
    std::vector<Request> spoiled = mix;
    spoiled[bad].prompt[5] = kSpoiled;
    const std::vector<Trace> traces = Traces(run(Batch(spoiled, 64)), spoiled);
    for (size_t i = 0; i < mix.size(); ++i) {
      if (i != bad) {
        EXPECT_TRUE(traces[i] == sound[i]) << i << " beside " << bad;
        continue;
      }
      EXPECT_EQ(traces[i].tokens, std::vector<int32_t>(kDecodes + 1, -1));
      for (const RowLogprobs& told : traces[i].logprobs) {
        EXPECT_EQ(told.logprob, kernels::kLogprobFloor);
        EXPECT_EQ(told.top_count, 0);
      }
      EXPECT_EQ(traces[i].prompt[10].logprob, kernels::kLogprobFloor);
      EXPECT_TRUE(traces[i].prompt[2] == sound[i].prompt[2]);
    }
  }
}

}  // namespace
}  // namespace octet::worker
