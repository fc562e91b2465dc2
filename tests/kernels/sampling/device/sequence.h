// A sequence as a test knows it, and what is chosen and told of a row of it on the CPU: the answer
// that a device must give to the bit.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "kernels/sampling/device/slot_updates.h"
#include "kernels/sampling/logprobs.h"
#include "tests/kernels/random.h"
#include "tests/kernels/sampling/adjust_reference.h"

namespace octet::kernels::test {

struct Sequence {
  SamplingParams sampling;
  Penalties penalties;
  std::vector<TokenBias> bias;
  std::vector<int32_t> end_ids;
  int64_t min_tokens = 0;
  int64_t prompt_tokens = 0;
  std::vector<int32_t> tokens;  // of prompt and answer; the next is drawn at position tokens.size()
  int32_t logprobs = -1;        // best tokens told; -1: nothing is told

  int64_t position() const { return static_cast<int64_t>(tokens.size()); }

  Adjustment AdjustmentNow() const {
    const auto border = static_cast<size_t>(std::min(prompt_tokens, position()));
    const std::span<const int32_t> all(tokens);
    const std::span<const int32_t> ends(end_ids);
    return {.banned = ends.first(position() - prompt_tokens < min_tokens ? ends.size() : 0),
            .bias = bias,
            .repetition_penalty = penalties.repetition_penalty,
            .presence_penalty = penalties.presence_penalty,
            .frequency_penalty = penalties.frequency_penalty,
            .prompt = all.first(border),
            .answer = all.subspan(border)};
  }
  // A device's marks of the slot. REQUIRES: it adjusts something.
  std::vector<uint32_t> MarksNow(int64_t vocab) const {
    std::vector<uint32_t> marks(static_cast<size_t>(vocab), 0);
    const auto set = [&](int32_t token, uint32_t flag) {
      if (token < vocab) marks[static_cast<size_t>(token)] |= flag;
    };
    for (const int32_t token : end_ids) set(token, kEndsAnswer);
    for (const TokenBias& entry : bias) set(entry.token, kHasBias);
    const Adjustment now = AdjustmentNow();
    if (now.reads_prompt()) {
      for (const int32_t token : now.prompt) set(token, kInPrompt);
    }
    if (now.penalizes()) {
      for (const int32_t token : now.answer) marks[static_cast<size_t>(token)] += kOnceInAnswer;
    }
    return marks;
  }
  // With the first `cached` tokens known at once.
  SlotAdmission Admission(int32_t slot, size_t cached) const {
    return {.slot = slot,
            .sampling = sampling,
            .penalties = penalties,
            .prompt_tokens = prompt_tokens,
            .min_tokens = min_tokens,
            .bias = bias,
            .end_ids = end_ids,
            .cached_tokens = std::span(tokens).first(cached)};
  }
};

// Of every adjustment something, or nothing at all.
inline Sequence RandomSequence(int64_t vocab, const SamplingParams& sampling, uint32_t seed) {
  std::mt19937 engine(seed);
  const OwnedAdjustment random = RandomAdjustment(vocab, seed);
  Sequence sequence{.sampling = sampling};
  sequence.sampling.seed = 0x9876543210ull + seed;
  sequence.sampling.sample_index = seed % 3;
  sequence.prompt_tokens = static_cast<int64_t>(random.prompt.size());
  sequence.tokens = random.prompt;
  sequence.tokens.insert(sequence.tokens.end(), random.answer.begin(), random.answer.end());
  sequence.logprobs = static_cast<int32_t>(engine() % 22) - 1;
  if (engine() % 3 == 0) return sequence;
  if (engine() % 3 != 0) {
    sequence.penalties.repetition_penalty = engine() % 2 == 0 ? 1.0f : random.repetition;
    sequence.penalties.presence_penalty = engine() % 2 == 0 ? 0.0f : random.presence;
    sequence.penalties.frequency_penalty = random.frequency;
  }
  if (engine() % 2 == 0) {
    sequence.bias = random.bias;
    if (!random.bias.empty()) sequence.bias.push_back(random.bias[0]);
  }
  if (engine() % 2 == 0) {
    sequence.end_ids = random.banned;
    sequence.min_tokens = static_cast<int64_t>(engine() % 2 == 0 ? 1000 : random.answer.size());
  }
  return sequence;
}

struct Answer {
  int32_t token = -1;
  RowLogprobs told;
  bool operator==(const Answer&) const = default;
};

// What is told of `token` in the row, with its `best`.
inline RowLogprobs ToldByCpu(const std::vector<float>& logits, int32_t token, int32_t best) {
  ThreadPool pool(1);
  Stream stream(&pool);
  const auto tokens = static_cast<int64_t>(logits.size());
  std::vector<TileSum> tiles(static_cast<size_t>(TileCount(tokens)));
  std::vector<Candidate> top(static_cast<size_t>(best));
  const LogprobRow row{logits.data(), tiles.data(), best, top.data()};
  LocalLogprobs({.rows = {&row, 1}, .tokens = tokens, .token_begin = 0}, stream);
  const double log_sum_exp = LogSumExp(tiles);
  RowLogprobs told;
  told.logprob =
      token < 0 ? kLogprobFloor : Logprob(logits[static_cast<size_t>(token)], log_sum_exp);
  told.top_count = MergeBest(top, best);
  for (int32_t i = 0; i < told.top_count; ++i) {
    told.top_tokens[i] = top[i].token;
    told.top_logprobs[i] = Logprob(top[i].logit, log_sum_exp);
  }
  return told;
}

inline Answer ChosenByCpu(const Sequence& sequence, const std::vector<float>& logits) {
  std::vector<float> adjusted = logits;
  std::vector<uint32_t> counts(logits.size(), 0);
  AdjustLogits(sequence.AdjustmentNow(),
               {adjusted.data(), static_cast<int64_t>(adjusted.size()), 0}, counts.data(), nullptr);
  std::vector<Candidate> scratch(logits.size());
  Answer answer{.token =
                    ChooseFromLogits(sequence.sampling, sequence.position(), adjusted, scratch)};
  if (sequence.logprobs >= 0) answer.told = ToldByCpu(logits, answer.token, sequence.logprobs);
  return answer;
}

}  // namespace octet::kernels::test
