#include "kernels/sampling/device/slot_updates.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/dispatch.h"

namespace octet::kernels {
namespace {

constexpr int64_t kWord = sizeof(uint32_t);
constexpr int64_t kBiasWords = sizeof(TokenBias) / kWord;
static_assert(sizeof(TokenBias) == 8 && sizeof(SlotUpdate) % 8 == 0);

int64_t HeadBytes(int64_t updates_max) { return updates_max * int64_t{sizeof(SlotUpdate)}; }

SlotRecord RecordOf(const SlotAdmission& a) {
  const bool marks_prompt = a.penalties.repetition_penalty != 1.0f;
  const bool marks_answer =
      marks_prompt || a.penalties.presence_penalty != 0.0f || a.penalties.frequency_penalty != 0.0f;
  return {.sampling = a.sampling,
          .penalties = a.penalties,
          .bias_count = static_cast<int32_t>(a.bias.size()),
          .prompt_tokens = a.prompt_tokens,
          .min_tokens = a.min_tokens,
          .has_marks = marks_answer || !a.bias.empty() || !a.end_ids.empty() ? 1 : 0,
          .marks_prompt = marks_prompt ? 1 : 0,
          .marks_answer = marks_answer ? 1 : 0};
}

}  // namespace

int64_t SlotUpdateBytes(int64_t updates, int64_t cached_tokens) {
  return HeadBytes(updates) +
         (updates * (kLogitBiasMax * kBiasWords + kEndIdsMax) + cached_tokens) * kWord;
}

SlotUpdateList::SlotUpdateList(std::span<std::byte> bytes, int64_t updates_max)
    : bytes_(bytes), updates_max_(updates_max) {
  OCTET_CHECK_GE(static_cast<int64_t>(bytes.size()), HeadBytes(updates_max));
}

void SlotUpdateList::Clear() {
  count_ = 0;
  word_count_ = 0;
}

int64_t SlotUpdateList::used_bytes() const {
  return count_ == 0 ? 0 : HeadBytes(updates_max_) + word_count_ * kWord;
}

template <typename T>
int32_t SlotUpdateList::Append(std::span<const T> values) {
  const int64_t begin = word_count_;
  if (!values.empty()) {
    std::memcpy(bytes_.data() + HeadBytes(updates_max_) + begin * kWord, values.data(),
                values.size_bytes());
  }
  word_count_ += static_cast<int64_t>(values.size_bytes()) / kWord;
  return static_cast<int32_t>(begin);
}

bool SlotUpdateList::Add(const SlotAdmission& admission) {
  OCTET_CHECK_GE(admission.slot, 0);
  OCTET_CHECK_GT(admission.penalties.repetition_penalty, 0.0f);
  OCTET_CHECK_LE(static_cast<int64_t>(admission.bias.size()), kLogitBiasMax);
  OCTET_CHECK_LE(static_cast<int64_t>(admission.end_ids.size()), kEndIdsMax);
  const int64_t words =
      static_cast<int64_t>(admission.bias.size_bytes() + admission.end_ids.size_bytes() +
                           admission.cached_tokens.size_bytes()) /
      kWord;
  const int64_t room =
      (static_cast<int64_t>(bytes_.size()) - HeadBytes(updates_max_)) / kWord - word_count_;
  if (count_ == updates_max_ || words > room) {
    const bool fits_into_an_empty_list = count_ > 0;
    OCTET_CHECK(fits_into_an_empty_list);
    return false;
  }
  SlotUpdate update{.record = RecordOf(admission), .slot = admission.slot};
  update.bias_begin = Append(admission.bias);
  // Equal tokens stay in the order in which their biases are added.
  const auto bias = reinterpret_cast<TokenBias*>(bytes_.data() + HeadBytes(updates_max_) +
                                                 update.bias_begin * kWord);
  std::stable_sort(bias, bias + admission.bias.size(),
                   [](const TokenBias& a, const TokenBias& b) { return a.token < b.token; });
  update.end_begin = Append(admission.end_ids);
  update.end_count = static_cast<int32_t>(admission.end_ids.size());
  update.cached_begin = Append(admission.cached_tokens);
  update.cached_count = static_cast<int32_t>(admission.cached_tokens.size());
  std::memcpy(bytes_.data() + count_ * int64_t{sizeof(SlotUpdate)}, &update, sizeof(update));
  ++count_;
  return true;
}

void ApplySlotUpdates(const ApplySlotUpdatesArgs& args, Stream& stream) {
  OCTET_CHECK(args.count >= 0 && args.count <= args.updates_max);
  if (args.count == 0) return;
  OCTET_CHECK(args.updates != nullptr);
  Dispatch(cuda::ApplySlotUpdates, args, stream);
}

}  // namespace octet::kernels
