// Admissions on their way to a device's SlotState: a list of words that the host writes into what
// it uploads anyway, and the kernel that applies it. Only a step that admits has one, and it is not
// part of a captured graph; a release needs none.
//
// The list: for each admission kUpdateHeadBytes of head, in a table that comes first, then the
// words of all lists that the heads point at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/device/stream.h"
#include "kernels/sampling/device/slot_state.h"

namespace octet::kernels {

struct SlotAdmission {
  int32_t slot = 0;
  SamplingParams sampling;
  Penalties penalties;
  int64_t prompt_tokens = 0;  // of the request, at its first admission
  int64_t min_tokens = 0;
  std::span<const TokenBias> bias;         // at most kLogitBiasMax
  std::span<const int32_t> end_ids;        // at most kEndIdsMax
  std::span<const int32_t> cached_tokens;  // those at [0, size), where a penalty needs them
};

// One admission as the device reads it: `record`, and lists as ranges of words behind the heads.
struct SlotUpdate {
  SlotRecord record;
  int32_t slot = 0;
  int32_t bias_begin = 0;  // record.bias_count pairs of token and bias
  int32_t end_begin = 0;
  int32_t end_count = 0;
  int32_t cached_begin = 0;
  int32_t cached_count = 0;
};

// Bytes in which `updates` admissions find room whatever they ask, but that of cached tokens only
// `cached_tokens` in all.
int64_t SlotUpdateBytes(int64_t updates, int64_t cached_tokens);

// Writes a list. It owns nothing.
class SlotUpdateList {
 public:
  // `bytes` is aligned to 8.
  SlotUpdateList(std::span<std::byte> bytes, int64_t updates_max);

  void Clear();
  // False where there is no room left: apply what there is, clear, and add again. The lists must be
  // within their limits and the whole fit into an empty list.
  bool Add(const SlotAdmission& admission);

  int64_t count() const { return count_; }
  int64_t used_bytes() const;  // what has to be uploaded; the same bytes from the start

 private:
  template <typename T>
  int32_t Append(std::span<const T> values);

  std::span<std::byte> bytes_;
  int64_t updates_max_;
  int64_t count_ = 0;
  int64_t word_count_ = 0;
};

struct ApplySlotUpdatesArgs {
  const std::byte* updates = nullptr;  // the list, on the device
  int64_t updates_max = 0;             // as it was written with
  int64_t count = 0;                   // all of different slots
  SlotState state;
};
// One block a slot. Bytes: 4 * vocab written for each slot that adjusts, and its lists.
void ApplySlotUpdates(const ApplySlotUpdatesArgs& args, Stream& stream);
namespace cuda {
OCTET_CUDA_OP void ApplySlotUpdates(const ApplySlotUpdatesArgs& args, Stream& stream);
}

}  // namespace octet::kernels
