// What ranks tell each other before they compute together, and the sentences by which a group that
// can not is refused. The checks are pure: every rank makes them of the same list and comes to the
// same end.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/status.h"
#include "comm/communicator.h"
#include "comm/group_watch.h"

namespace octet::comm {

// Text of a bounded length in a record that crosses processes; what does not fit is cut off.
template <int kBytes>
struct FixedText {
  char bytes[kBytes] = {};  // ended by a zero

  FixedText() = default;
  template <std::convertible_to<std::string_view> Text>
  FixedText(const Text& text) {  // NOLINT: implicit on purpose
    std::string_view(text).copy(bytes, kBytes - 1);
  }
  std::string_view view() const { return bytes; }
};

struct RankIdentity {
  FixedText<64> build;        // BuildId()
  FixedText<64> device_kind;  // what bits depend on: "cpu avx512", "cuda 9.0"
  FixedText<128> host;        // HostIdentity(); empty where the system does not say
  FixedText<64> device_uuid;  // of the GPU; empty on the CPU
  int32_t nccl_version = 0;   // NcclVersionCode; 0: none
  int32_t pid = 0;
  FixedText<512> problem;  // why this rank can not start; empty when it can
};
static_assert(std::is_trivially_copyable_v<RankIdentity>);

// [ranks], the same everywhere. All ranks call it. REQUIRES: broadcast_bytes_max of `control` is at
// least sizeof(RankIdentity).
std::vector<RankIdentity> ExchangeIdentities(Communicator& control, const RankIdentity& own);

// Whether all can start and are of one build, one kind of device and one NCCL.
Status CheckAgreement(std::span<const RankIdentity> ranks);

// Whether each rank has a GPU of its own. `share_gpu` lets several be on one, for tests.
Status CheckDevices(std::span<const RankIdentity> ranks, bool share_gpu);

// The processes that `rank` can watch: of its host and table of processes, not its own.
std::vector<PeerProcess> PeersOf(std::span<const RankIdentity> ranks, int rank);

}  // namespace octet::comm
