// Who of a worker group has said hello and who is ready, and whether they fit together: one launch,
// one build, one instruction family, one configuration. Pure state of one group; its owner brings
// the lock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/workers/group_info.h"
#include "octet/v1/worker_link.pb.h"

namespace octet::workers {

// Limits on what rank 0 may claim of its model; a value outside is refused by name.
inline constexpr int32_t kRanksMax = 32;
inline constexpr int64_t kVocabMax = 1 << 20;
inline constexpr int64_t kContextMax = 1 << 22;
inline constexpr int64_t kKvBlocksMax = 1 << 26;
inline constexpr int64_t kSlotsMax = 1 << 16;
inline constexpr int64_t kStepRowsMax = 1 << 20;

class RankTable {
 public:
  RankTable(uint64_t epoch, std::string secret, int32_t ranks)
      : epoch_(epoch), secret_(std::move(secret)), hellos_(ranks), readies_(ranks) {}

  // Whether the sender belongs to this launch at all. PermissionDenied: it is a stranger or a
  // left-over of another launch, and the group is none the worse for it.
  Status CheckLaunch(const v1::Hello& hello) const;
  // FailedPrecondition, with both values: the group can not work together and must not start.
  // REQUIRES: CheckLaunch(hello).ok().
  Status Add(const v1::Hello& hello);

  // The same for a rank that has said hello.
  Status SetReady(int32_t rank, const v1::Ready& ready);

  int32_t ranks() const { return static_cast<int32_t>(hellos_.size()); }
  int32_t present() const { return present_; }  // ranks that have said hello
  bool is_ready(int32_t rank) const { return readies_[rank].has_value(); }
  bool complete() const { return ready_ == ranks(); }
  // REQUIRES: complete().
  GroupInfo info() const;

 private:
  uint64_t epoch_;
  std::string secret_;
  std::vector<std::optional<v1::Hello>> hellos_;   // [ranks]
  std::vector<std::optional<v1::Ready>> readies_;  // [ranks]
  int32_t present_ = 0;
  int32_t ready_ = 0;
};

}  // namespace octet::workers
