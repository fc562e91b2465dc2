// A libnccl for tests: ranks are threads of one process, "device" memory is host memory, and what
// goes wrong is chosen. It really moves the bytes, and refuses what NCCL would hang or fail on (a
// receive without the send of the same size, in the order of the peers' calls).
//
// It is a library of its own, loaded by its path like the real one; the test reaches the switches
// through the one function that is not NCCL's.
#pragma once

#include <atomic>

namespace octet::comm {

struct FakeNccl {
  std::atomic<int> version{22809};
  std::atomic<int> init_result{0};        // of joining, on `init_result_rank`
  std::atomic<int> init_result_rank{-1};  // -1: on no rank
  std::atomic<int> absent_rank{-1};       // never joins: its thread waits for ever
  std::atomic<int> mute_rank{-1};         // joins, but what it sends does not arrive
  std::atomic<int> call_result{0};        // of every collective
  std::atomic<int> async_error{0};        // what NCCL has met in the background
  std::atomic<bool> abort_hangs{false};
  std::atomic<int> aborts{0};
  std::atomic<int> destroys{0};
  std::atomic<int> all_gathers{0};  // calls, over all ranks
  std::atomic<int> groups{0};
  // Has work(data) run when the queue comes to it, as often as the queue does; null: at once.
  std::atomic<void (*)(void* queue, void (*work)(void*), void* data)> enqueue{nullptr};
};

using FakeNcclSwitches = FakeNccl* (*)();
inline constexpr char kFakeNcclSwitches[] = "OctetFakeNccl";

}  // namespace octet::comm
