#include "kernels/sampling/device/slot_state.h"

#include "base/check.h"

namespace octet::kernels {
namespace {

constexpr int64_t kAlignment = 16;

int64_t Aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Bytes of one slot in each array.
constexpr int64_t kRecord = sizeof(SlotRecord);
constexpr int64_t kToken = sizeof(int32_t);
constexpr int64_t kBias = kLogitBiasMax * int64_t{sizeof(TokenBias)};
int64_t MarkBytes(const SlotStateShape& shape) { return shape.vocab * int64_t{sizeof(uint32_t)}; }

}  // namespace

int64_t SlotStateBytes(const SlotStateShape& shape) {
  return Aligned(shape.slots * kRecord) + Aligned(shape.slots * kToken) +
         Aligned(shape.slots * kBias) + Aligned(shape.slots * MarkBytes(shape));
}

SlotState SlotStateIn(std::byte* bytes, const SlotStateShape& shape) {
  OCTET_CHECK_GT(shape.slots, 0);
  OCTET_CHECK(shape.vocab > 0 && shape.vocab <= kSampledVocabMax);
  const auto take = [&](int64_t bytes_of_slot) {
    std::byte* taken = bytes;
    bytes += Aligned(shape.slots * bytes_of_slot);
    return taken;
  };
  SlotState state{.shape = shape};
  state.records = reinterpret_cast<SlotRecord*>(take(kRecord));
  state.last_tokens = reinterpret_cast<int32_t*>(take(kToken));
  state.bias = reinterpret_cast<TokenBias*>(take(kBias));
  state.marks = reinterpret_cast<uint32_t*>(take(MarkBytes(shape)));
  return state;
}

}  // namespace octet::kernels
