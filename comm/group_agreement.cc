#include "comm/group_agreement.h"

#include "comm/nccl/nccl_library.h"

namespace octet::comm {
namespace {

std::string Rank(size_t rank) { return "rank " + std::to_string(rank); }

// `what` is, say, "build", found and expected are as told.
Status Differs(size_t rank, const std::string& what, std::string_view found,
               std::string_view expected) {
  return FailedPrecondition(Rank(rank) + " has " + what + " " + std::string(found) +
                            ", rank 0 has " + std::string(expected) +
                            ": all ranks must have the same, or their results would differ");
}

}  // namespace

std::vector<RankIdentity> ExchangeIdentities(Communicator& control, const RankIdentity& own) {
  std::vector<RankIdentity> ranks(control.size());
  ranks[control.rank()] = own;
  for (int root = 0; root < control.size(); ++root) {
    control.Broadcast(std::as_writable_bytes(std::span(&ranks[root], 1)), root);
  }
  return ranks;
}

Status CheckAgreement(std::span<const RankIdentity> ranks) {
  for (size_t r = 0; r < ranks.size(); ++r) {
    if (ranks[r].problem.view().empty()) continue;
    return FailedPrecondition(Rank(r) + ": " + std::string(ranks[r].problem.view()));
  }
  const RankIdentity& first = ranks.front();
  for (size_t r = 1; r < ranks.size(); ++r) {
    if (ranks[r].build.view() != first.build.view()) {
      return Differs(r, "build", ranks[r].build.view(), first.build.view());
    }
    if (ranks[r].device_kind.view() != first.device_kind.view()) {
      return Differs(r, "device kind", ranks[r].device_kind.view(), first.device_kind.view());
    }
    if (ranks[r].nccl_version != first.nccl_version) {
      return Differs(r, "NCCL", NcclLibrary::VersionName(ranks[r].nccl_version),
                     NcclLibrary::VersionName(first.nccl_version));
    }
  }
  return {};
}

Status CheckDevices(std::span<const RankIdentity> ranks, bool share_gpu) {
  if (share_gpu) return {};
  for (size_t r = 0; r < ranks.size(); ++r) {
    const std::string_view uuid = ranks[r].device_uuid.view();
    if (uuid.empty()) continue;
    for (size_t other = 0; other < r; ++other) {
      if (ranks[other].device_uuid.view() != uuid) continue;
      return FailedPrecondition("ranks " + std::to_string(other) + " and " + std::to_string(r) +
                                " are both on the GPU " + std::string(uuid) +
                                ": start at most one rank for each GPU (--tp), or pass "
                                "--share-gpu, which is slow and only meant for tests");
    }
  }
  return {};
}

std::vector<PeerProcess> PeersOf(std::span<const RankIdentity> ranks, int rank) {
  std::vector<PeerProcess> peers;
  const RankIdentity& own = ranks[rank];
  if (own.host.view().empty()) return peers;
  for (size_t r = 0; r < ranks.size(); ++r) {
    if (ranks[r].host.view() != own.host.view() || ranks[r].pid == own.pid) continue;
    peers.push_back({.rank = static_cast<int>(r), .pid = ranks[r].pid});
  }
  return peers;
}

}  // namespace octet::comm
